#!/bin/bash
#: # The articles' walk-through, command by command
#:
#: This follows the articles "Deploy an SMTP service" (osau.re, 2022 and 2023) with Stagecoach: eight services, each with one
#: task, at the addresses that they have there. Most people want `stagecoach serve` instead, which is all of them in one process
#: (see [getting started](start.md)); this way shows how the stages compose, and it is how to split them over machines.
#:
#: The domain is `x25519.net`, the machine's public address 76.8.60.93, and its private bridge `service` has 10.0.0.1/24:
#:
#: | address | service | listens |
#: |---|---|---|
#: | 10.0.0.1 | git over SSH: `zone.git`, `users.git` | 22 |
#: | 10.0.0.2 | resolver | 53 |
#: | 10.0.0.3 | primary | 53 |
#: | 10.0.0.4 | signer | 25 |
#: | 10.0.0.5 | relay | 25 |
#: | 10.0.0.6 | letsencrypt | |
#: | 10.0.0.7 | submission | 465 |
#: | 10.0.0.8 | spamfilter | 25 |
#: | 10.0.0.9 | verifier | 25 |
#:
#: Mail goes out by submission, signer and relay, and comes in by verifier, spamfilter and relay. Where the articles start a
#: unikernel with `albatross`, `start NAME IP COMMAND…` here runs the command in a network namespace of its own with that
#: address; containers or machines do as well. This page is printed from `test/articles/walkthrough.sh`, which runs in CI.
set -eu
trap 'echo "walkthrough.sh:$LINENO: $BASH_COMMAND" >&2' ERR

# ---- the stage: a host with a bridge, and an Internet behind it ----

mount -t tmpfs none /run/netns 2>/dev/null || { mkdir -p /run/netns && mount -t tmpfs none /run/netns; }
export HOME=$PWD/home
export GIT_CONFIG_NOSYSTEM=1 ARTICLES_INTERNET=$PWD
mkdir -p "$HOME" state
git config --global user.name "Romain"
git config --global user.email "romain@x25519.net"
ip link set lo up
ip link add service type bridge
ip addr add 10.0.0.1/24 dev service
ip link set service up

netns() { # netns NAME: a namespace that is wired to a device of the host, which is printed
	ip netns add "$1"
	ip link add "h-$1" type veth peer name eth0 netns "$1"
	ip -n "$1" link set lo up
	ip -n "$1" link set eth0 up
	ip link set "h-$1" up
}

netns internet
ip addr add 76.8.60.93/24 dev h-internet
ip -n internet addr add 76.8.60.1/24 dev eth0
ip -n internet route add local 198.51.100.0/24 dev lo
ip route add default via 76.8.60.1
echo 1 >/proc/sys/net/ipv4/ip_forward
# What stays on the bridge is not to be translated.
[ ! -e /proc/sys/net/bridge/bridge-nf-call-iptables ] || echo 0 >/proc/sys/net/bridge/bridge-nf-call-iptables
ip netns exec internet "$INTERNET" >internet.log 2>&1 &
internet() { "$INTERNET" "$@"; }

wait_for() { # wait_for SECONDS COMMAND...: until it succeeds
	local n=$(($1 * 10))
	shift
	until "$@" >/dev/null 2>&1; do
		((n-- > 0)) || { echo "gave up waiting for: $*" >&2; return 1; }
		sleep 0.1
	done
}
wait_for 20 test -S internet.sock

start() { # start NAME IP COMMAND...
	local name=$1 ip=$2
	shift 2
	if ! ip netns list | grep -q "^$name\b"; then
		netns "${name:0:11}"
		ip link set "h-${name:0:11}" master service
		ip -n "${name:0:11}" addr add "$ip/24" dev eth0
		ip -n "${name:0:11}" route add default via 10.0.0.1
	fi
	ip netns exec "${name:0:11}" "$@" --ipv4="$ip/24" --ipv4-gateway=10.0.0.1 >>"$name.log" 2>&1 &
	echo $! >"$name.pid"
}
stop() { # stop NAME
	kill "$(cat "$1.pid")"
	wait "$(cat "$1.pid")" || true
}
open_port() { timeout 1 bash -c "exec 3<>/dev/tcp/$1/$2"; }
see() { # see TEXT PATTERN: TEXT must match
	grep -qE -- "$2" <<<"$1" || { printf 'expected %s in:\n%s\n' "$2" "$1" >&2; return 1; }
}
unseen() {
	! grep -qE -- "$2" <<<"$1" || { printf 'did not expect %s in:\n%s\n' "$2" "$1" >&2; return 1; }
}

# The user "git", for this walk only.
mkdir -p git/.ssh
cp /etc/passwd passwd
echo "git:x:5432:65534::$PWD/git:/bin/bash" >>passwd
mount --bind passwd /etc/passwd
echo 'git:*:20000::::::' | cat /etc/shadow - >shadow
chmod 600 shadow
mount --bind shadow /etc/shadow
chmod 755 "$PWD" git
ssh-keygen -q -t ed25519 -N '' -f host_key
ssh-keygen -q -t ed25519 -N '' -f "$HOME/id"
cat >sshd_config <<-EOF
	ListenAddress 10.0.0.1
	HostKey $PWD/host_key
	AuthorizedKeysFile $PWD/git/.ssh/authorized_keys
	StrictModes no
	UsePAM no
	PidFile none
	PasswordAuthentication no
EOF
mkdir -p /run/sshd
"$(command -v sshd || echo /usr/sbin/sshd)" -D -e -f "$PWD/sshd_config" >sshd.log 2>&1 &
wait_for 10 open_port 10.0.0.1 22
authenticator=$(ssh-keygen -lf host_key.pub | cut -d' ' -f2)
ssh-keyscan -t ed25519 10.0.0.1 2>/dev/null >known_hosts
export GIT_SSH_COMMAND="ssh -i $HOME/id -o UserKnownHostsFile=$PWD/known_hosts"

#: ## Part 1: names
#:
#: Two repositories on the host, which the services reach as `git@10.0.0.1` with a key of theirs. `$authenticator` is the
#: fingerprint of the host's key (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`), and `git` the home of the user git.
#{
stagecoach ssh-key ssh.key >git/.ssh/authorized_keys
git init -q --bare -b master git/zone.git
git init -q --bare -b master git/users.git
#}
cat "$HOME/id.pub" >>git/.ssh/authorized_keys
chown -R 5432 git

#: A zone file, named as its zone, and a key that may update it:
#{
git clone -q git@10.0.0.1:zone.git zone 2>/dev/null
cat >zone/x25519.net <<'END'
$ORIGIN x25519.net.
$TTL 3600
@    SOA   ns1 hostmaster 1 86400 7200 1048576 60
@    NS    ns1
@    A     76.8.60.93
ns1  A     76.8.60.93
END
cat >zone/x25519.net._keys <<'END'
personal._update.x25519.net. DNSKEY 0 3 163 PAPPkecDvEBnhqTzG5Xsbrbi7W0QY7TpVaEMxndMv2M=
END
git -C zone add -A
git -C zone commit -q -m "Initial zone"
git -C zone push -q
echo personal._update.x25519.net:SHA256:PAPPkecDvEBnhqTzG5Xsbrbi7W0QY7TpVaEMxndMv2M= >dns.key
chmod 600 dns.key
#}

#: The primary answers for it, and the resolver for everything else. (Without `--no-dnssec` the zone is signed, which the articles do
#: not have.)
#{
start primary 10.0.0.3 stagecoach primary -r git@10.0.0.1:zone.git#master --axfr --no-dnssec \
	--ssh-key @ssh.key --ssh-authenticator "$authenticator"
#}
# The root of this Internet is not the one that the program knows, and nobody has signed it.
start resolver 10.0.0.2 stagecoach resolver --hints "$(cat root.hint)" --trust /dev/null --private --no-ipv6
#: ```sh
#: start resolver 10.0.0.2 stagecoach resolver
#: ```
#:
#: The world reaches the primary by the host's port 53. (The articles have the rules of all ports in this form; a service that
#: connects to the public address comes from the bridge.)
#{
iptables -t nat -A POSTROUTING -s 10.0.0.0/24 -j MASQUERADE
iptables -t nat -N DNS
iptables -t nat -A DNS ! -s 10.0.0.3/32 -p tcp -m tcp --dport 53 -j DNAT --to-destination 10.0.0.3:53
iptables -t nat -A DNS ! -s 10.0.0.3/32 -p udp -m udp --dport 53 -j DNAT --to-destination 10.0.0.3:53
iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DNS
#}
wait_for 20 dig +short +time=1 +tries=1 x25519.net @10.0.0.3
#{
dig +short x25519.net @10.0.0.3
dig +short -t axfr x25519.net @10.0.0.3
dig +short x25519.net @10.0.0.2
#}
see "$(dig +short x25519.net @10.0.0.3)" '^76.8.60.93$'
see "$(dig +short -t axfr x25519.net @10.0.0.3 | cut -d' ' -f1 | paste -sd' ')" '^ns1.x25519.net. (76.8.60.93 ns1.x25519.net.|ns1.x25519.net. 76.8.60.93) 76.8.60.93 ns1.x25519.net.$'
see "$(dig +short x25519.net @10.0.0.2)" '^76.8.60.93$'
see "$(ip netns exec internet dig +short x25519.net @76.8.60.93)" '^76.8.60.93$'

#: After a push the primary is told to look; `update.sh` of the articles is
#{
stagecoach zone notify 10.0.0.3 x25519.net --key @dns.key
#}

#: ## Part 2: sending
#:
#: ### The signer
#:
#: Its key follows from a seed. It publishes the public key by an update, which becomes a commit. For a first test its mail goes
#: to 10.0.0.1, where a small receiver writes it to a file.
#{
dd if=/dev/urandom bs=32 count=1 status=none | base64 >dkim.key
chmod 600 dkim.key
start signer 10.0.0.4 stagecoach signer --domain=x25519.net \
	--dns-key=@dns.key --dns-server=10.0.0.3 \
	--destination=10.0.0.1 --postmaster=hostmaster@x25519.net \
	--private-key=@dkim.key --selector=s1
#}
wait_for 60 open_port 10.0.0.4 25
wait_for 60 bash -c 'dig +short TXT s1._domainkey.x25519.net @10.0.0.3 | grep -q DKIM1'
#{
git -C zone pull -q
git -C zone log --oneline | head -n1
dig +short TXT s1._domainkey.x25519.net @10.0.0.3
#}
see "$(git -C zone log --oneline | head -n1)" '^[0-9a-f]+ 10\.0\.0\.4 changed x25519\.net$'
see "$(dig +short TXT s1._domainkey.x25519.net @10.0.0.3)" '^"v=DKIM1; .*p='
#: (The articles' mail has no From field; a signature over none is none by RFC 6376, so this one has.)
#{
stagecoach mail serve 10.0.0.1:25 -o new.eml &
wait_for 20 open_port 10.0.0.1 25 #-
echo "Hello World!" | stagecoach mail make - --from dinosaure@x25519.net |
	stagecoach mail send --sender foo@bar -r romain@bigmail.example - 10.0.0.4
wait $!
cat new.eml
stagecoach mail dkim verify --nameserver tcp:10.0.0.2 new.eml
#}
see "$(cat new.eml)" '^DKIM-Signature: .*d=x25519.net'
see "$(tr -d ' \r\n\t' <new.eml)" 'bh=z85OKVJZHnmg3qFlSpLbpPCZ00irfBdrzQUtabiSl3A='
see "$(cat new.eml)" '^Hello World!'
see "$(stagecoach mail dkim verify --nameserver tcp:10.0.0.2 new.eml)" 'x25519.net'

#: ### The users
#:
#: A user is a file in `users.git`: a hash of the password, and the addresses where the mail goes. The reference's form has the
#: password on the command line and works, with a warning; this asks for it (or takes it from
#: a pipe), or makes a good one. `hostmaster`, to whom mail for the postmaster goes below, has to be somebody. The repository needs
#: a first commit.
#{
git clone -q git@10.0.0.1:users.git users 2>/dev/null
git -C users commit -q --allow-empty -m "The users of x25519.net"
git -C users push -q
echo "correct horse" | stagecoach user add dinosaure -r git@10.0.0.1:users.git#master --domain x25519.net \
	--ssh-key @ssh.key --ssh-authenticator "$authenticator" -t romain@bigmail.example --no-confirm --server smtp.x25519.net -a hostmaster --ask
#}

#: ### The relay
#:
#: It forwards mail to our users, keeps a queue, and is the only one that talks to the world. The signer gets it as destination.
#{
start relay 10.0.0.5 stagecoach relay --domain=x25519.net --name=x25519.net --nameserver=tcp:10.0.0.2 \
	--postmaster=hostmaster@x25519.net -r git@10.0.0.1:users.git#master \
	--ssh-key=@ssh.key --ssh-authenticator="$authenticator" --spool=state/relay --allow-loopback
stop signer
start signer 10.0.0.4 stagecoach signer --domain=x25519.net \
	--dns-key=@dns.key --dns-server=10.0.0.3 \
	--destination=10.0.0.5 --postmaster=hostmaster@x25519.net \
	--private-key=@dkim.key --selector=s1
#}
wait_for 60 open_port 10.0.0.5 25
wait_for 60 open_port 10.0.0.4 25

#: ### SPF
#{
stagecoach spf publish 10.0.0.3 @dns.key x25519.net "v=spf1 +ip4:76.8.60.93 -all"
git -C zone pull -q
git -C zone log --oneline | head -n1
grep spf1 zone/x25519.net
#}
see "$(git -C zone log --oneline | head -n1)" '^[0-9a-f]+ 10\.0\.0\.1 changed x25519\.net$'
see "$(grep spf1 zone/x25519.net)" '"v=spf1 \+?ip4:76.8.60.93(/32)? -all"'

#: ### A mail to the Internet
#{
echo "Hello World!" | stagecoach mail make - --to foo@correspondent.example --from dinosaure@x25519.net -f "Subject: Hello World" |
	stagecoach mail send --sender dinosaure@x25519.net -r foo@correspondent.example - 10.0.0.4
#}
got=$(internet read foo@correspondent.example World)
see "$got" 'dkim=pass'
see "$got" 'spf=pass'

#: ### Certificates
#:
#: A service that wants a certificate writes its request into the zone; this one follows the zone, and gets it. Its own key is
#: named by a seed, as there.
#: ```sh
#: dd if=/dev/urandom bs=32 count=1 status=none | base64 >account.seed
#: start letsencrypt 10.0.0.6 stagecoach letsencrypt --email=romain@x25519.net --account-key-seed=@account.seed \
#:     --dns-key=@dns.key --dns-server=10.0.0.3 --production --state state/letsencrypt
#: ```
dd if=/dev/urandom bs=32 count=1 status=none | base64 >account.seed
chmod 600 account.seed
start letsencrypt 10.0.0.6 stagecoach letsencrypt --email=romain@x25519.net --account-key-seed=@account.seed --account-bits 2048 \
	--dns-key=@dns.key --dns-server=10.0.0.3 --state state/letsencrypt \
	--directory "$(cat acme.url)" --ca-file acme.ca --nameserver tcp:10.0.0.2

quiet() { # until the zone has not changed for two seconds
	local before=
	until [ "$before" = "$(git -C git/zone.git rev-parse master)" ]; do
		before=$(git -C git/zone.git rev-parse master)
		sleep 2
	done
}
git config --global --add safe.directory '*'
quiet

#: ### Submission
#:
#: Its host name goes into the zone by hand first:
#{
git -C zone pull -q
echo "smtp A 76.8.60.93" >>zone/x25519.net
serial=$(awk '$2 == "SOA" {print $5}' zone/x25519.net)
sed -i "/SOA/s/ $serial / $((serial + 1)) /" zone/x25519.net
git -C zone commit -q -a -m "Add smtp.x25519.net"
git -C zone push -q
stagecoach zone notify 10.0.0.3 x25519.net --key @dns.key
#}
see "$(dig +short smtp.x25519.net @10.0.0.3)" '^76.8.60.93$'
#{
dd if=/dev/urandom bs=32 count=1 status=none | base64 >submission.seed
chmod 600 submission.seed
start submission 10.0.0.7 stagecoach submission --destination=10.0.0.4 \
	--dns-key=@dns.key --dns-server=10.0.0.3 --domain x25519.net --postmaster=hostmaster@x25519.net \
	-r git@10.0.0.1:users.git#master --ssh-key=@ssh.key --ssh-authenticator="$authenticator" \
	--submission-domain=smtp.x25519.net --key-seed=@submission.seed
iptables -t nat -N SUBMISSION
iptables -t nat -A SUBMISSION ! -s 10.0.0.7/32 -p tcp -m tcp --dport 465 -j DNAT --to-destination 10.0.0.7:465
iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j SUBMISSION
#}
trusted() { # trusted SECONDS HOST PORT [more]: until its certificate is one that mail programs trust
	wait_for "$1" ip netns exec internet bash -c "echo QUIT | openssl s_client -connect 76.8.60.93:$3 -verify_hostname $2 \
		-verify_return_error -CAfile acme.root ${*:4} -quiet"
}
trusted 120 smtp.x25519.net 465
#: When the certificate is there, a mail program anywhere in the world can send as `dinosaure@x25519.net`:
#: ```sh
#: echo "Hello World!" | stagecoach mail make - --to foo@correspondent.example --from dinosaure@x25519.net -f "Subject: Hello" |
#:     stagecoach mail submit -s dinosaure@x25519.net -r foo@correspondent.example - smtp.x25519.net
#: ```
echo "correct horse" >password
chmod 600 password
echo "Hello World!" | stagecoach mail make - --to foo@correspondent.example --from dinosaure@x25519.net -f "Subject: Hello there" |
	ip netns exec internet stagecoach mail submit -p @password -s dinosaure@x25519.net -r foo@correspondent.example \
		--ca acme.root --server-name smtp.x25519.net - 76.8.60.93
got=$(internet read foo@correspondent.example there)
see "$got" 'dkim=pass.*'
see "$got" 'spf=pass'

#: ## Part 3: receiving
#:
#: ### The spam filter
#{
start spamfilter 10.0.0.8 stagecoach spamfilter --domain x25519.net --destination=10.0.0.1 --postmaster=hostmaster@x25519.net
#}
wait_for 30 open_port 10.0.0.8 25
#{
rm new.eml
stagecoach mail serve 10.0.0.1:25 -o new.eml &
wait_for 20 open_port 10.0.0.1 25 #-
echo "Hello World!" | stagecoach mail make - --to foo@bar --from dinosaure@x25519.net -f "Subject: Lorem Ipsum" |
	stagecoach mail send --sender dinosaure@x25519.net -r foo@bar - 10.0.0.8
wait $!
grep X-Spamtacus new.eml
#}
see "$(cat new.eml)" '^X-Spamtacus: unknown'
#: It cannot tell of so few words. Its destination is the relay from now on:
#{
stop spamfilter
start spamfilter 10.0.0.8 stagecoach spamfilter --domain x25519.net --destination=10.0.0.5 --postmaster=hostmaster@x25519.net
#}
wait_for 30 open_port 10.0.0.8 25

#: ### The verifier and the MX record
#:
#: It faces the world at port 25: it alone sees who brings a mail. Its certificate is that of the domain.
#{
dd if=/dev/urandom bs=32 count=1 status=none | base64 >verifier.seed
chmod 600 verifier.seed
start verifier 10.0.0.9 stagecoach verifier --destination=10.0.0.8 --domain x25519.net \
	--dns-key=@dns.key --dns-server=10.0.0.3 --key-seed=@verifier.seed \
	--nameserver=tcp:10.0.0.2 --postmaster=hostmaster@x25519.net \
	-r git@10.0.0.1:users.git#master --ssh-key=@ssh.key --ssh-authenticator="$authenticator"
iptables -t nat -N SMTP
iptables -t nat -A SMTP ! -s 10.0.0.9/32 -p tcp -m tcp --dport 25 -j DNAT --to-destination 10.0.0.9:25
iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j SMTP
#}
trusted 120 x25519.net 25 -starttls smtp
quiet # the certificate is there; its challenge goes, too
#:
#: The services have written to the zone since: `git pull` comes first.
#{
git -C zone pull -q
printf '@\t3600\tMX\t0\tx25519.net.\n' >>zone/x25519.net
serial=$(awk '$2 == "SOA" {print $5}' zone/x25519.net)
sed -i "/SOA/s/ $serial / $((serial + 1)) /" zone/x25519.net
git -C zone commit -q -a -m "Add the MX record"
git -C zone push -q
stagecoach zone notify 10.0.0.3 x25519.net --key @dns.key
#}
see "$(dig +short MX x25519.net @10.0.0.3)" '^0 x25519.net.$'

#: ### The PTR record
#:
#: Whoever gave you the address gives it its name:
internet ptr 76.8.60.93 x25519.net
#{
dig +short -x "$(dig +short x25519.net @10.0.0.2)" @10.0.0.2
#}
see "$(dig +short -x 76.8.60.93 @10.0.0.2)" '^x25519.net.$'

#: ### The test with a large receiver
#:
#: Add the address as one of yours where you read your mail ("Send mail as"): it logs in at submission, then sends a code to
#: `dinosaure@x25519.net`, which comes in at the verifier, is labelled, and is sent back by the relay to your mailbox there.
internet write noreply@bigmail.example dinosaure@x25519.net "Confirmation code"
got=$(internet read romain@bigmail.example Confirmation)
see "$got" '^from <SRS0=.*@x25519.net>'
see "$got" '^X-Spamtacus: (no|unknown)'
see "$got" '^Received-SPF: pass|spf=pass'
see "$got" 'smtp.mailfrom=noreply@bigmail.example'
unseen "$(head -n 12 <<<"$got")" '=fail'

#: And the last picture of the articles: a mail from the new identity to an address at another large receiver. The articles had no
#: DMARC record, and were let off ("bestguesspass"); today the large receivers want one.
#{
stagecoach zone set dmarc 10.0.0.3 @dns.key x25519.net "v=DMARC1; p=quarantine"
#}
echo "Hello from my own domain." | stagecoach mail make - --to dinosaure@lookout.example --from dinosaure@x25519.net -f "Subject: Identity" |
	ip netns exec internet stagecoach mail submit -p @password -s dinosaure@x25519.net -r dinosaure@lookout.example \
		--ca acme.root --server-name smtp.x25519.net - 76.8.60.93
got=$(internet read dinosaure@lookout.example Identity)
see "$got" 'spf=pass'
see "$got" 'dkim=pass'
see "$got" 'iprev=pass'
see "$got" 'dmarc=pass'
#: There it reads
#:
#: ```
#: Authentication-Results: mx.lookout.example; iprev=pass (x25519.net) policy.iprev=76.8.60.93;
#:     spf=pass smtp.mailfrom=dinosaure@x25519.net; dkim=pass header.d=x25519.net header.s=s1;
#:     dmarc=pass header.from=x25519.net
#: ```
#:
#: The articles stop here. `stagecoach check x25519.net` says what else the world would like to see.

for pid in *.pid; do kill "$(cat "$pid")" 2>/dev/null || true; done
echo "the walk is done"
