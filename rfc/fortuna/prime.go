package fortuna

import "math/big"

// window is how many odd numbers are sieved at a time. Among 2048-bit numbers one odd in 710
// is prime.
const window = 8 << 10

// sieveLimit is up to where small primes are sieved with.
const sieveLimit = 1 << 17

// nextPrime returns the smallest prime above n, which is large: above sieveLimit.
func nextPrime(n *big.Int) *big.Int {
	primes := smallPrimes()
	base := new(big.Int).Add(n, big.NewInt(1))
	base.SetBit(base, 0, 1) // the first odd number above n
	composite := make([]bool, window)
	for {
		sieve(composite, base, primes)
		for i, c := range composite {
			if c {
				continue
			}
			// Baillie-PSW and rounds of Miller-Rabin: no composite number is known to pass.
			if p := new(big.Int).Add(base, big.NewInt(2*int64(i))); p.ProbablyPrime(8) {
				return p
			}
		}
		base.Add(base, big.NewInt(2*window))
	}
}

// sieve marks the numbers base+2i that have a small factor.
func sieve(composite []bool, base *big.Int, primes []uint32) {
	clear(composite)
	m, r := new(big.Int), new(big.Int)
	for _, p := range primes {
		rest := r.Mod(base, m.SetUint64(uint64(p))).Uint64()
		// base + 2i ≡ 0 (mod p), where 1/2 ≡ (p+1)/2
		first := (uint64(p) - rest) % uint64(p) * ((uint64(p) + 1) / 2) % uint64(p)
		for i := first; i < uint64(len(composite)); i += uint64(p) {
			composite[i] = true
		}
	}
}

// smallPrimes returns the odd primes below sieveLimit.
func smallPrimes() []uint32 {
	composite := make([]bool, sieveLimit)
	var primes []uint32
	for i := 3; i < sieveLimit; i += 2 {
		if composite[i] {
			continue
		}
		primes = append(primes, uint32(i))
		for k := i * i; k < sieveLimit; k += 2 * i {
			composite[k] = true
		}
	}
	return primes
}
