//! Which backups stay: decided only from the listing, the rules and the time.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use super::listing::Backup;
use super::selection::is_ahead;
use crate::database::Source;
use crate::time::Time;

/// What to keep. A backup stays if any rule keeps it. Without any of the first seven, all ordinary backups stay;
/// without the eighth, all safety backups do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// This many, the newest.
    pub last: Option<u64>,
    /// All that are older than the newest by less than this.
    pub within: Option<Duration>,
    /// The newest of this many hours; as in the next four, one without a backup does not count.
    pub hourly: Option<u64>,
    /// The newest of this many days.
    pub daily: Option<u64>,
    /// The newest of this many ISO weeks.
    pub weekly: Option<u64>,
    /// The newest of this many months.
    pub monthly: Option<u64>,
    /// The newest of this many years.
    pub yearly: Option<u64>,
    /// Safety backups that are older than the newest ordinary one by less than this.
    pub replaced: Option<Duration>,
    /// Count everything as backups of one library, those of unknown source too.
    pub one_source: bool,
}

/// The number of the hour, day, week ... that a time is in.
type Period = fn(Time) -> u64;

/// Why a backup stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The newest ordinary one of its source, which always stays.
    Newest,
    /// By the rule of this name, as are all that follow.
    Last,
    Within,
    Hourly,
    Daily,
    Weekly,
    Monthly,
    Yearly,
    Replaced,
}

impl Reason {
    /// The name in listings and documents: that of the option, without `--keep-`.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Newest => "newest",
            Reason::Last => "last",
            Reason::Within => "within",
            Reason::Hourly => "hourly",
            Reason::Daily => "daily",
            Reason::Weekly => "weekly",
            Reason::Monthly => "monthly",
            Reason::Yearly => "yearly",
            Reason::Replaced => "replaced",
        }
    }
}

/// What becomes of a backup. It goes if it is [`Verdict::Expired`], and stays otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays, for these reasons: at least one.
    Kept(Vec<Reason>),
    /// No rule keeps it.
    Expired,
    /// No rule applies to backups of its kind, or there is nothing to measure it by.
    NoRule,
    /// It may be of any library.
    UnknownSource,
    /// Not counted, and never removed: named by hand, a symlink, damaged, impossible to look at, or dated ahead.
    LeftAlone,
}

impl Rules {
    /// True if there is no rule at all.
    pub fn is_empty(&self) -> bool {
        !self.any_for_ordinary() && self.replaced.is_none()
    }

    fn any_for_ordinary(&self) -> bool {
        self.last.is_some() || self.within.is_some() || self.periods().iter().any(|(_, count, _)| count.is_some())
    }

    fn periods(&self) -> [(Reason, Option<u64>, Period); 5] {
        [
            (Reason::Hourly, self.hourly, Time::hour),
            (Reason::Daily, self.daily, Time::day),
            (Reason::Weekly, self.weekly, Time::week),
            (Reason::Monthly, self.monthly, Time::month),
            (Reason::Yearly, self.yearly, Time::year),
        ]
    }
}

/// Decides about each of `backups`, in their order. `now` only shows which of them are dated ahead: if backups have
/// stopped, time alone removes none.
pub fn decide(backups: &[Backup], rules: &Rules, now: Time) -> Vec<Verdict> {
    let mut verdicts = vec![Verdict::LeftAlone; backups.len()];
    let mut libraries: BTreeMap<Option<&Source>, Vec<usize>> = BTreeMap::new();
    for (i, backup) in backups.iter().enumerate() {
        if !counts(backup, now) {
            continue;
        }
        let source = backup.source.as_ref().filter(|_| !rules.one_source);
        if source.is_some() || rules.one_source {
            verdicts[i] = Verdict::NoRule;
            libraries.entry(source).or_default().push(i);
        } else {
            verdicts[i] = Verdict::UnknownSource;
        }
    }
    for mut indices in libraries.into_values() {
        indices.sort_by_key(|i| Reverse(backups[*i].age_order()));
        let (safety, ordinary): (Vec<usize>, Vec<usize>) = indices.iter().partition(|i| backups[**i].replaced);
        // Without an ordinary one, all safety backups stay.
        let Some(newest) = ordinary.first().map(|i| backups[*i].created_at) else {
            continue;
        };
        let times: Vec<Time> = ordinary.iter().map(|i| backups[*i].created_at).collect();
        for (i, reasons) in ordinary.iter().zip(reasons(&times, rules)) {
            if !reasons.is_empty() {
                verdicts[*i] = Verdict::Kept(reasons);
            } else if rules.any_for_ordinary() {
                verdicts[*i] = Verdict::Expired;
            }
        }
        let Some(age) = rules.replaced else { continue };
        for i in safety {
            verdicts[i] = match younger(backups[i].created_at, newest, age) {
                true => Verdict::Kept(vec![Reason::Replaced]),
                false => Verdict::Expired,
            };
        }
    }
    verdicts
}

/// True for backups that the programs made and named, and that are sound as far as the listing shows.
fn counts(backup: &Backup, now: Time) -> bool {
    backup.standard_name && backup.stamp.regular && backup.summary.is_ok() && !is_ahead(backup, now)
}

/// True if `time` is before `newest` by less than `age`, or after it.
fn younger(time: Time, newest: Time, age: Duration) -> bool {
    newest.as_second().saturating_sub(time.as_second()) < age.as_secs()
}

/// Why each of the ordinary backups of one library stays. `times` has the newest first.
fn reasons(times: &[Time], rules: &Rules) -> Vec<Vec<Reason>> {
    let mut reasons = vec![Vec::new(); times.len()];
    let Some(newest) = times.first() else { return reasons };
    reasons[0].push(Reason::Newest);
    for (n, time) in times.iter().enumerate() {
        if rules.last.is_some_and(|last| (n as u64) < last) {
            reasons[n].push(Reason::Last);
        }
        if rules.within.is_some_and(|age| younger(*time, *newest, age)) {
            reasons[n].push(Reason::Within);
        }
    }
    for (reason, count, period) in rules.periods() {
        let mut left = count.unwrap_or(0);
        let mut before = None;
        for (n, time) in times.iter().enumerate() {
            let this = Some(period(*time));
            if left > 0 && this != before {
                reasons[n].push(reason);
                left -= 1;
            }
            before = this;
        }
    }
    reasons
}

#[cfg(test)]
mod tests;
