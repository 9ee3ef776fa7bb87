#!/usr/bin/env bash
# Measures our spam filter beside those that Debian ships, on the same random splits of a collection.
#
#   lab/spam/compare.sh CORPUS SEEDS [FILTER...]          70 in a hundred to learn, 30 to test
#   lab/spam/compare.sh TRAIN.index,TEST.index 1 [FILTER...]
#
# CORPUS is a folder with folders of spam and ham; mails with the same text count once. SEEDS is a number of splits ("10":
# 1 to 10) or a list of seeds ("3,4"). FILTERs: stagecoach bogofilter spamprobe crm114 bsfilter spamassassin (its Bayes
# alone) spamoracle; without names all of them. Prints for each filter and split, and as a mean with its 95 % confidence:
# good mail called spam, spam missed at the filter's own cut-off, 1-AUC and misses at 0.1 %, in per cent.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
case $1 in
*,*) train=$(realpath "${1%,*}") test=$(realpath "${1#*,}") corpus= ;;
*) corpus=$(realpath "$1") ;;
esac
case $2 in
*,*) seeds=${2//,/ } ;;
*) seeds=$(seq "$2") ;;
esac
shift 2
[ $# -gt 0 ] || set -- stagecoach bogofilter spamprobe crm114 bsfilter spamassassin spamoracle
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

of() { awk -v t="$1" '$1==t {print $2}' "$2"; } # of spam|ham INDEX: the files

truth() { # adds the truth to lines "FILE VERDICT SCORE"
	awk 'NR==FNR {t[$2]=$1; next} {print t[$1], $2, $3}' "$test" -
}

each() { # each FUNCTION: "truth VERDICT SCORE" for each mail of the test, where FUNCTION FILE prints "VERDICT SCORE"
	local label file
	while read -r label file; do
		printf '%s %s\n' "$label" "$("$1" "$file")"
	done <"$test"
}

stagecoach() {
	command stagecoach filter model --routes -o own.model "$train" 2>/dev/null
	cut -d' ' -f2 "$test" | xargs stagecoach filter classify --scores --model own.model | awk '{print $3, ($1=="yes"?"spam":"ham"), $2}' | truth
}

bogofilter() {
	mkdir bogo
	of spam "$train" | command bogofilter -d bogo -s -b
	of ham "$train" | command bogofilter -d bogo -n -b
	cut -d' ' -f2 "$test" | { command bogofilter -d bogo -TT -b || true; } | awk '{print $1, ($2>=0.99?"spam":"ham"), $2}' | truth
}

crm114() { # OSB, trained on error and near it
	learn() { crm "-{ learn <osb unique microgroom> ($1.css) /[[:graph:]]+/ }" <"$2"; }
	pr() { # evidence that a file is spam
		head -c 200000 "$1" | crm '-{ { classify <osb unique microgroom> (spam.css | ham.css) (:s:) /[[:graph:]]+/ ; output /:*:s:/ ; exit } ; output /:*:s:/ }' 2>/dev/null |
			sed -n 's/^#0 (spam.css).*pR: *\(-\{0,1\}[0-9.]*\).*/\1/p' | head -1
	}
	says() { pr "$1" | awk '{p=$1} END {print (p>0?"spam":"ham"), p+0}'; }
	learn spam "$(of spam "$train" | head -1)"
	learn ham "$(of ham "$train" | head -1)"
	local label file
	while read -r label file; do
		case $(pr "$file" | awk -v t="$label" '{p=$1} END {print (t=="spam" ? p < 10 : p > -10)}') in
		1) learn "$label" "$file" ;;
		esac
	done <"$train"
	each says
}

spamprobe() {
	says() { command spamprobe -d probe score "$1" | awk '{print ($1=="SPAM"?"spam":"ham"), $2}'; }
	mkdir probe
	of spam "$train" | xargs spamprobe -d probe spam
	of ham "$train" | xargs spamprobe -d probe good
	each says
}

bsfilter() {
	mkdir bs
	of spam "$train" | xargs bsfilter --homedir "$work/bs" --add-spam
	of ham "$train" | xargs bsfilter --homedir "$work/bs" --add-clean
	command bsfilter --homedir "$work/bs" --update
	cut -d' ' -f2 "$test" | { xargs bsfilter --homedir "$work/bs" -v || true; } 2>&1 |
		awk '/^combined probability/ {print $3, ($5>=0.582?"spam":"ham"), $5}' | truth
}

spamassassin() {
	perl "$here/bayes.pl" "$work/sa" "$train" "$test"
}

spamoracle() {
	says() { command spamoracle -f so.db mark <"$1" | awk '/^X-Spam:/ {sub(";","",$2); print ($2=="yes"?"spam":"ham"), $3+0; exit}'; }
	of spam "$train" | xargs -n 500 spamoracle -f so.db add -spam 2>/dev/null
	of ham "$train" | xargs -n 500 spamoracle -f so.db add -good 2>/dev/null
	each says
}

: >results
for seed in $seeds; do
	if [ -n "$corpus" ]; then
		python3 "$here/score.py" split "$corpus" "$seed" train.index test.index
		train=$work/train.index test=$work/test.index
	fi
	for f; do
		rm -rf bogo probe bs sa so.db ./*.css
		"$f" | python3 "$here/score.py" score "$f" "$seed" | tee -a results
	done
done
python3 "$here/score.py" mean <results
