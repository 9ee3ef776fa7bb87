package spam_test

import (
	"os"
	"path/filepath"
	"testing"

	"stagecoach/mail"
	"stagecoach/spam"
	"stagecoach/spam/corpus"
)

// collection returns the mails of the collection that the model in the binary is made from, or
// skips. SPAM_CORPUS names its folder; docs/filter.md says how to get it.
func collection(t testing.TB) []corpus.Mail {
	dir := os.Getenv("SPAM_CORPUS")
	if dir == "" {
		if os.Getenv("REQUIRE_PEERS") != "" {
			t.Fatal("SPAM_CORPUS names no collection")
		}
		t.Skip("SPAM_CORPUS names no collection")
	}
	all, err := corpus.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func messages(b *testing.B) (out []*mail.Message, isSpam []bool, octets int64) {
	all := collection(b)
	for i := 0; i < len(all); i += 5 {
		m, err := all[i].Message()
		if err != nil {
			b.Fatal(filepath.Base(all[i].Path), err)
		}
		out = append(out, m)
		isSpam = append(isSpam, all[i].Spam)
		octets += m.Size()
	}
	return out, isSpam, octets / int64(len(out))
}

func BenchmarkJudge(b *testing.B) {
	mails, _, size := messages(b)
	model, err := spam.Default()
	if err != nil {
		b.Fatal(err)
	}
	j := &spam.Judge{Model: model}
	b.SetBytes(size)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := j.Judge(mails[i%len(mails)], spam.Beside{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "mails/s")
}

func BenchmarkLearn(b *testing.B) {
	mails, isSpam, size := messages(b)
	l := spam.NewOnline(true)
	b.SetBytes(size)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := l.Learn(mails[i%len(mails)], isSpam[i%len(mails)]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "mails/s")
}
