#!/usr/bin/env bash
# Measures our spam filter beside those that Debian ships, on the same split of a collection.
#
#   lab/spam/compare.sh TRAIN.index TEST.index [FILTER...]
#
# An index has lines "spam PATH" and "ham PATH". FILTERs: stagecoach bogofilter crm114 spamprobe
# spamoracle; without names all of them. Prints for each: good mail
# called spam, spam missed at the filter's own cut-off, 1-AUC and misses at 0.1 %, in per cent.
set -euo pipefail
train=$(realpath "$1") test=$(realpath "$2")
shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# score reads lines "truth verdict score", where a higher score is more spam.
score() {
	python3 -c '
import sys
rows=[(float(s),t=="spam",v=="spam") for t,v,s in (l.split() for l in sys.stdin)]
ham=sorted(s for s,t,_ in rows if not t); spam=sorted(s for s,t,_ in rows if t)
import bisect
bad=sum(len(ham)-bisect.bisect_left(ham,s)-(bisect.bisect_right(ham,s)-bisect.bisect_left(ham,s))/2 for s in spam)
cut=ham[-1-len(ham)//1000]
fp=sum(v for _,t,v in rows if not t); miss=sum(not v for _,t,v in rows if t)
print("%-14s good called spam %.2f  missed %.2f  1-AUC %.4f  missed at 0.1%% %.2f" % (sys.argv[1],
  100*fp/len(ham),100*miss/len(spam),100*bad/len(ham)/len(spam),100*sum(s<=cut for s in spam)/len(spam)))' "$1"
}

stagecoach() {
	command -v stagecoach >/dev/null || return 0
	command stagecoach filter model --routes -o own.model "$train" 2>/dev/null
	while read -r truth file; do
		command stagecoach filter classify --scores --model own.model "$file" | awk -v t="$truth" '{print t, ($1=="yes"?"spam":"ham"), $2}'
	done <"$test" | score stagecoach
}

bogofilter() {
	mkdir bogo
	while read -r truth file; do
		command bogofilter -d bogo $(if [ "$truth" = spam ]; then printf %s -s; else printf %s -n; fi) -I "$file"
	done <"$train"
	while read -r truth file; do
		command bogofilter -d bogo -T -I "$file" | awk -v t="$truth" '{print t, ($1=="S"?"spam":"ham"), $2}' || true
	done <"$test" | score bogofilter
}

crm114() { # OSB, trained on error and near it
	learn() { crm "-{ learn <osb unique microgroom> ($1.css) /[[:graph:]]+/ }" <"$2"; }
	pr() { # evidence that a file is spam
		head -c 200000 "$1" | crm '-{ { classify <osb unique microgroom> (spam.css | ham.css) (:s:) /[[:graph:]]+/ ; output /:*:s:/ ; exit } ; output /:*:s:/ }' 2>/dev/null |
			sed -n 's/^#0 (spam.css).*pR: *\(-\{0,1\}[0-9.]*\).*/\1/p' | head -1
	}
	learn spam "$(awk '$1=="spam"{print $2; exit}' "$train")"
	learn ham "$(awk '$1=="ham"{print $2; exit}' "$train")"
	while read -r truth file; do
		p=$(pr "$file")
		case $(awk -v p="${p:-0}" -v t="$truth" 'BEGIN { print (t=="spam" ? p < 10 : p > -10) }') in
		1) learn "$truth" "$file" ;;
		esac
	done <"$train"
	while read -r truth file; do
		p=$(pr "$file")
		awk -v t="$truth" -v p="${p:-0}" 'BEGIN { print t, (p>0?"spam":"ham"), p }'
	done <"$test" | score crm114
}

spamprobe() {
	mkdir probe
	while read -r truth file; do
		command spamprobe -d probe $([ "$truth" = spam ] && echo spam || echo good) "$file"
	done <"$train"
	while read -r truth file; do
		command spamprobe -d probe score "$file" | awk -v t="$truth" '{print t, ($1=="SPAM"?"spam":"ham"), $2}'
	done <"$test" | score spamprobe
}

spamoracle() {
	awk '$1=="spam"{print $2}' "$train" | xargs -n 500 command spamoracle -f so.db add -spam 2>/dev/null
	awk '$1=="ham"{print $2}' "$train" | xargs -n 500 command spamoracle -f so.db add -good 2>/dev/null
	while read -r truth file; do
		command spamoracle -f so.db mark <"$file" | awk -v t="$truth" '/^X-Spam:/ {sub(";","",$2); print t, ($2=="yes"?"spam":"ham"), $3+0; exit}'
	done <"$test" | score spamoracle
}

[ $# -gt 0 ] || set -- stagecoach bogofilter crm114 spamprobe spamoracle
for f; do "$f"; done
