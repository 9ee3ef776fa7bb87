#!/usr/bin/env bash
# Measures our name servers beside others, on loopback, in turns: queries a second, the server's
# CPU time for one, and memory.
#
#   lab/load/dns.sh authority [signed] [nothing]   beside Knot and, where COREDNS names it, CoreDNS
#   lab/load/dns.sh resolver                       beside Unbound, answers from memory
#                                                  (CACHE of ours, 2G)
#   lab/load/dns.sh uncached [all]                 beside Unbound, nothing known at first
#
# "uncached" asks each question of a tree of zones once, from the root down, the servers of the
# tree in a process of their own and DELAY away; "all" has zones that are broken too. It has to be
# root, since resolvers follow referrals to port 53. ZONES (300) in the tree, DELAY (10ms).
# "nothing" asks for names that do not exist. From the environment: NAMES in the zone (100000),
# SECONDS_EACH (5), ROUNDS (3), CLIENTS (20), COREDNS=PATH,
# STAGECOACH=PATH of a program that is built. Needs dnsperf, knotd, kdig, unbound
# and git. The servers end with the script.
set -euo pipefail
kind=${1:?authority, resolver or uncached}
shift
names=${NAMES:-100000} seconds=${SECONDS_EACH:-5} rounds=${ROUNDS:-3} clients=${CLIENTS:-20}
cores=$(nproc)
root=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)
work=$(mktemp -d)
declare -A pid port before
end() {
	for p in "${pid[@]}"; do kill "$p" 2>/dev/null || true; done
	wait
	[ -n "${KEEP:-}" ] || rm -rf "$work"
}
trap end EXIT
cd "$work"
if [ -n "${STAGECOACH:-}" ]; then cp "$STAGECOACH" stagecoach; else (cd "$root" && go build -o "$work/stagecoach" ./cmd/stagecoach); fi

# memory prints the resident set of a server in MB.
memory() { awk '/^VmRSS/ {print int($2/1024)}' "/proc/${pid[$1]}/status"; }

# start NAME PORT COMMAND... waits until the server answers.
start() {
	local name=$1
	port[$name]=$2
	shift 2
	"$@" >"$name.log" 2>&1 &
	pid[$name]=$!
	for _ in $(seq 600); do
		if kdig +short +timeout=1 +retry=0 @127.0.0.1 -p "${port[$name]}" host1.example A 2>/dev/null | grep -q 192.0.2; then
			before[$name]=$(memory "$name")
			return
		fi
		kill -0 "${pid[$name]}" 2>/dev/null || break
		sleep 0.2
	done
	echo "$name does not answer" >&2
	tail -5 "$name.log" >&2
	exit 1
}

# spent prints the CPU time of a server so far, in seconds.
spent() { awk -v hz="$(getconf CLK_TCK)" '{print ($14+$15)/hz}' "/proc/${pid[$1]}/stat"; }

# rate NAME prints the queries a second that a server answers, how many were lost, and the CPU
# time that it took for one, in microseconds.
rate() {
	local from
	from=$(spent "$1")
	dnsperf -s 127.0.0.1 -p "${port[$1]}" -d queries -l "$seconds" -c "$clients" -q 200 "${perf[@]}" >"$1.perf" 2>&1
	awk -v cpu="$(awk "BEGIN {print $(spent "$1") - $from}")" '
		/Queries completed/ {n=$3} /Queries per second/ {qps=$4} /Queries lost/ {lost=$3}
		END {printf "%d %d %.2f\n", qps, lost, cpu*1e6/n}' "$1.perf"
}

# race prints a line for each server: the best of all rounds, as other work on the machine only
# ever takes away.
race() {
	for name in "$@"; do best[$name]=0 lost[$name]=0 cost[$name]=; done
	for _ in $(seq "$rounds"); do
		for name in "$@"; do
			read -r qps gone cpu < <(rate "$name")
			if ((qps > best[$name])); then best[$name]=$qps cost[$name]=$cpu; fi
			lost[$name]=$((lost[$name] + gone))
		done
	done
	printf '%-10s %10s %8s %8s %12s %10s %6s\n' server queries/s ours/it "us each" "MB at first" "MB at end" lost
	for name in "$@"; do
		printf '%-10s %10d %8.2f %8.2f %12d %10d %6d\n' "$name" "${best[$name]}" "$(awk "BEGIN {print ${best[ours]}/${best[$name]}}")" \
			"${cost[$name]}" "${before[$name]}" "$(memory "$name")" "${lost[$name]}"
	done
}
declare -A best lost cost
perf=()

zone() {
	echo '$TTL 3600'
	echo '@ SOA ns hostmaster 1 3600 600 604800 300'
	echo '@ NS ns'
	echo 'ns A 192.0.2.53'
	seq "$names" | awk '{printf "host%d A 192.0.2.%d\n", $1, $1%256}'
}

knot() { # ZONEFILE PORT
	mkdir -p knot.db
	cat >knot.conf <<-END
		server:
		    listen: 127.0.0.1@$2
		    rundir: $work
		    udp-workers: $cores
		database:
		    storage: $work/knot.db
		zone:
		  - domain: example
		    file: $1
		    zonefile-sync: -1
		    semantic-checks: off
	END
	start knot "$2" knotd -c knot.conf
}

authority() {
	local flags=(--no-dnssec)
	local pattern=host
	for word; do
		case $word in
		signed) flags=() perf=(-D) ;;
		nothing) pattern=nothing ;;
		*) echo "unknown: $word" >&2 && exit 2 ;;
		esac
	done
	git init -q --bare -b main zones.git
	git init -q -b main work
	zone >work/example
	git -C work add example
	git -C work -c user.name=a -c user.email=a@b commit -qm zones
	git -C work push -q ../zones.git main
	start ours 5311 ./stagecoach primary -r zones.git --listen 127.0.0.1:5311 --axfr --state state --sockets "$cores" --control "$work/control" "${flags[@]}"
	kdig @127.0.0.1 -p 5311 example AXFR | grep -v '^;' >example.zone # signed as ours is
	knot "$work/example.zone" 5312
	local others=(knot)
	if [ -n "${COREDNS:-}" ]; then
		echo "example:5313 { bind 127.0.0.1
		file $work/example.zone }" | sed 's/ }$/\n}/; s/{ bind/{\nbind/' >Corefile
		start coredns 5313 "$COREDNS" -conf Corefile
		others+=(coredns)
	fi
	seq "$names" | shuf | awk -v p=$pattern '{print p $1 ".example A"}' >queries
	race ours "${others[@]}"
}

# tree starts the servers of the tree of name/resolver/scenario.
tree() {
	mkdir tree
	(cd "$root" && go test -c -o "$work/tree.test" ./name/resolver/scenario)
	TREE_SERVE=$work/tree TREE_ZONES=${ZONES:-300} TREE_DELAY=${DELAY:-10ms} ./tree.test -test.run '^TestServeTree$' -test.timeout 1h >tree.log 2>&1 &
	pid[tree]=$!
	for _ in $(seq 600); do
		[ -e tree/ready ] && return
		kill -0 "${pid[tree]}" 2>/dev/null || break
		sleep 0.1
	done
	tail -5 tree.log >&2
	exit 1
}

# cold starts a resolver that knows nothing.
cold() {
	case $1 in
	ours) exec ./stagecoach resolver --control "$work/control" serve --listen 127.0.0.1:5321 --trust tree/anchor \
		--hints "$(cat tree/root)" --private --no-ipv6 --sockets "$cores" ;;
	unbound) exec unbound -d -c unbound.conf ;;
	esac >"$1.log" 2>&1 &
	pid[$1]=$!
	for _ in $(seq 100); do # what is local says that it is there, and asks nobody
		kdig +short +timeout=1 +retry=0 @127.0.0.1 -p "${port[$1]}" localhost A 2>/dev/null | grep -q 127.0.0.1 && return
		sleep 0.1
	done
	echo "$1 does not answer" >&2
	tail -5 "$1.log" >&2
	exit 1
}

uncached() {
	tree
	port=([ours]=5321 [unbound]=5322)
	unbound_conf >unbound.conf
	cat >>unbound.conf <<-END
		server:
		    root-hints: "$work/tree/hints"
		    trust-anchor-file: "$work/tree/anchor"
		    do-ip6: no
	END
	shuf --random-source=<(yes) "tree/${1:-sound}" >queries
	local name round
	for round in $(seq 0 "$rounds"); do # the first has the servers sign all they will be asked for, and does not count
		for name in ours unbound; do
			cold "$name"
			timeout 300 dnsperf -s 127.0.0.1 -p "${port[$name]}" -d queries -n 1 -c 1 -q 8 -t 15 -D -v >"$name.perf" 2>&1 || true
			kill "${pid[$name]}" && wait "${pid[$name]}" 2>/dev/null || true
			unset "pid[$name]"
			[ "$round" = 0 ] || latency "$round" "$name"
		done
	done
	average ours unbound
}

# latency keeps how long each answer of a round took, and prints the sum of it, in milliseconds.
latency() {
	awk '/^> [A-Z0-9]+ / {print $NF*1000}' "$2.perf" | sort -n >>"$2.each"
	awk -v n="$1" -v name="$2" '/^> [A-Z0-9]+ / {s+=$NF*1000; k++; if ($2 == "SERVFAIL") f++} /Queries lost/ {lost=$3}
		END {printf "round %d %-8s %d answers, %d SERVFAIL, %d lost, %.1f ms each\n", n, name, k, f, lost, s/k}' "$2.perf"
}

average() {
	local name
	printf '%-10s %10s %8s %8s %8s %8s %8s\n' server "average ms" ours/it p50 p90 p99 max
	mean() { awk '{s+=$1} END {print s/NR}' "$1.each"; }
	for name in "$@"; do
		sort -n "$name.each" | awk -v name="$name" -v ours="$(mean ours)" '{x[NR]=$1; s+=$1}
			END {printf "%-10s %10.1f %8.2f %8.1f %8.1f %8.1f %8.1f\n", name, s/NR, ours/(s/NR), x[int(NR*.5)], x[int(NR*.9)], x[int(NR*.99)], x[NR]}'
	done
}

unbound_conf() {
	cat <<-END
		server:
		    interface: 127.0.0.1
		    port: 5322
		    num-threads: $cores
		    so-reuseport: yes
		    do-daemonize: no
		    chroot: ""
		    username: ""
		    directory: $work
		    pidfile: ""
		    use-syslog: no
		    do-not-query-localhost: no
		    module-config: "validator iterator"
		    msg-cache-size: 1g
		    rrset-cache-size: 2g
		    msg-cache-slabs: 4
		    rrset-cache-slabs: 4
		remote-control:
		    control-enable: no
	END
}

# warm has a resolver know all names: the second time asks again for what was lost.
warm() {
	for _ in 1 2; do dnsperf -s 127.0.0.1 -p "${port[$1]}" -d queries -n 1 -c "$clients" -q 50 >"$1.warm" 2>&1; done
}

resolver() {
	zone >example.zone
	knot "$work/example.zone" 5312
	unbound_conf >unbound.conf
	cat >>unbound.conf <<-END
		stub-zone:
		    name: example
		    stub-addr: 127.0.0.1@5312
	END
	: >trust
	start ours 5321 ./stagecoach resolver --control "$work/control" serve --listen 127.0.0.1:5321 --cache "${CACHE:-2G}" --trust trust --private --stub example=udp:127.0.0.1:5312 --sockets "$cores"
	start unbound 5322 unbound -c unbound.conf
	seq "$names" | shuf | awk '{print "host" $1 ".example A"}' >queries
	warm ours & local first=$!
	warm unbound & wait "$first" "$!"
	race ours unbound
}

"$kind" "$@"
