// Load puts an SMTP server on loopback under load, and measures it. It stops by itself, and
// refuses every target that is not a loopback address.
//
// A closed loop sends the next message when the last one was answered; an open loop (-rate)
// sends at its own pace, and counts latency from the moment at which a message was due, so
// that a stall of the server is not hidden by the client that waits for it. Every latency is
// kept, none is sampled. Accepted is what was answered with 250 at its end; delivered, with
// -sink, is what arrived at the sink, over the time up to the last arrival.
//
//	go run ./lab/load -target 127.0.0.1:2525 -sessions 64 -size 10k -duration 10s
//	go run ./lab/load -target 127.0.0.1:2525 -sink 127.0.0.1:2626 -check      # is every message there, and once?
//	go run ./lab/load -target 127.0.0.1:2525 -rate 500 -sessions 50           # open loop
//	go run ./lab/load -target 127.0.0.1:2525 -idle 10000 -pid PID             # memory of idle connections, p99 beside them
//	go run ./lab/load -target 127.0.0.1:2525 -count 200000 -duration 10m -pid PID  # memory with a full queue (no sink)
//	go run ./lab/load -sink 127.0.0.1:2626 -duration 1h                       # a sink alone
//
// With -idle, each 20 connections come from an address of their own in 127.64.0.0/10. Server
// and client need 10,000 files each (ulimit -n), and a server that ends at 10,000 connections
// has no room for a load beside 10,000 idle ones.
//
// # Against Postfix
//
// With -versus postfix, as root, it starts an instance of Postfix with its own configuration
// and queue, and our relay, both with their queues in -dir, and puts the same load on one
// after the other, as often as -rounds says, both relaying to the same sink. Postfix has its
// own defaults in all that bears on speed and safety (it syncs each message before the 250,
// as we do); only default_process_limit is said, and is 100 as well. Where both offer
// CHUNKING both are sent BDAT; -verb data sends DATA, which our relay between stages takes
// only when it is told to.
//
//	go build -o /tmp/stagecoach ./cmd/stagecoach
//	go run ./lab/load -versus postfix -stagecoach /tmp/stagecoach -sessions 20 -size 4k -min-accepted 5 -min-delivered 4
//
// # Crashes
//
// With -kill N our relay is killed N times at random moments, started again on the same
// spool, and left to deliver what it has. Then every message must be where it belongs: what
// was answered with 250 has arrived at the sink, or the run fails; what arrived twice is
// counted, and bounded by -max-duplicates for each kill. The ledger is kept by this process,
// which is not killed.
//
//	go run ./lab/load -kill 1000 -stagecoach /tmp/stagecoach -sessions 64 -size 10k -rate 500 -sink-latency 50ms
//
// # Figures
//
// The rates are medians over the rounds. CPU a message is that of all processes of a server,
// for accepting and delivering; PSS divides pages that processes share among them.
package main
