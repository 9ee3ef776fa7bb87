# SpamAssassin's Bayes alone, in one process: bayes.pl STATE TRAIN.index TEST.index prints "TRUTH VERDICT SCORE" for each mail
# of the test. Its own cut-off is that of BAYES_95.
use strict;
use warnings;
use Mail::SpamAssassin;

my ($state, $train, $test) = @ARGV;
mkdir $state;
open my $tlds, '<', '/usr/share/spamassassin/20_aux_tlds.cf' or die $!;
my $config = join '', <$tlds>, <<"END";
loadplugin Mail::SpamAssassin::Plugin::Check
loadplugin Mail::SpamAssassin::Plugin::Bayes
use_bayes 1
bayes_auto_learn 0
bayes_auto_expire 0
bayes_path $state/bayes
body BAYES eval:check_bayes('0','1')
END
my $sa = Mail::SpamAssassin->new({ dont_copy_prefs => 1, local_tests_only => 1, userprefs_filename => '/dev/null',
    userstate_dir => $state, config_text => $config });
$sa->init_learner({ force_expire => 0, learn_to_journal => 0, wait_for_lock => 1 });

sub each_mail {
    my ($index, $do) = @_;
    open my $in, '<', $index or die $!;
    while (<$in>) {
        chomp;
        my ($truth, $path) = split / /, $_, 2;
        open my $f, '<', $path or die $!;
        my $text = do { local $/; <$f> };
        $text =~ s/^From .*\n//;
        my $mail = $sa->parse($text, 1);
        $do->($truth, $mail);
        $mail->finish;
    }
}

each_mail($train, sub { my ($truth, $mail) = @_; $sa->learn($mail, undef, $truth eq 'spam' ? 1 : 0, 0)->finish });
each_mail($test, sub {
    my ($truth, $mail) = @_;
    my $status = $sa->check($mail);
    my $score = $status->{bayes_score} // 0.5;
    printf "%s %s %.17g\n", $truth, ($score >= 0.95 ? 'spam' : 'ham'), $score;
    $status->finish;
});
$sa->finish;
