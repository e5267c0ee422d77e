//! Times, and the table that is printed of them.

use std::fmt;
use std::time::{Duration, Instant};

use crate::Failure;

/// Times of one measurement, sorted.
#[derive(Clone, Debug)]
pub(crate) struct Times(Vec<Duration>);

impl From<Vec<Duration>> for Times {
    fn from(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }
}

impl Times {
    /// The time that `percent` of the runs kept.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let last = self.0.len().saturating_sub(1);
        self.0.get((last * percent).div_ceil(100)).copied().unwrap_or_default()
    }

    pub(crate) fn p50(&self) -> Duration {
        self.percentile(50)
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

/// The time of one piece of work.
pub(crate) fn time(work: impl FnOnce() -> Result<(), Failure>) -> Result<Duration, Failure> {
    let begun = Instant::now();
    work()?;
    Ok(begun.elapsed())
}

/// Measures a thing and its floor in turns, so that both meet the same weather.
pub(crate) fn in_turns(
    runs: usize,
    mut thing: impl FnMut() -> Result<Duration, Failure>,
    mut floor: impl FnMut() -> Result<Duration, Failure>,
) -> Result<(Times, Times), Failure> {
    let (mut things, mut floors) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        floors.push(floor()?);
        things.push(thing()?);
    }
    Ok((things.into(), floors.into()))
}

fn shown(time: Duration) -> String {
    match time.as_secs_f64() {
        s if s < 1e-3 => format!("{:.0} µs", s * 1e6),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

fn line(what: &str, runs: &str, cells: [String; 4]) {
    let [p50, p90, floor, ratio] = cells;
    println!("{what:<50} {runs:>6} {p50:>10} {p90:>10} {floor:>10} {ratio:>6}");
}

/// Begins a part of what is printed.
pub(crate) fn part(title: &str) {
    println!("\n{title}");
}

/// Names the columns of the rows that follow.
pub(crate) fn columns() {
    line("", "runs", ["p50", "p90", "floor p50", "ratio"].map(str::to_owned));
}

/// A time beside its floor, and in words what that is.
pub(crate) fn times(what: &str, here: &Times, floor: Option<(&Times, &str)>) {
    let ratio = |floor: &Times| here.p50().as_secs_f64() / floor.p50().as_secs_f64();
    let cells = [
        shown(here.p50()),
        shown(here.percentile(90)),
        floor.map_or("-".into(), |(f, _)| shown(f.p50())),
        floor.map_or("-".into(), |(f, _)| format!("{:.2}", ratio(f))),
    ];
    line(what, &here.len().to_string(), cells);
    if let Some((_, words)) = floor {
        note(&format!("floor: {words}"));
    }
}

/// A rate, of `count` things in each run, beside the ceiling that bare means have.
pub(crate) fn rate(what: &str, count: usize, here: &Times, ceiling: f64, words: &str) {
    let per_s = |time: Duration| count as f64 / time.as_secs_f64();
    let cells = [
        format!("{:.0} /s", per_s(here.p50())),
        format!("{:.0} /s", per_s(here.percentile(90))),
        format!("{ceiling:.0} /s"),
        format!("{:.2}", per_s(here.p50()) / ceiling),
    ];
    line(what, &here.len().to_string(), cells);
    note(&format!("floor: {words}"));
}

/// A figure that is no time.
pub(crate) fn fact(what: &str, figure: impl fmt::Display) {
    println!("{what:<50} {figure}");
}

/// Words under a row.
pub(crate) fn note(words: &str) {
    println!("    {words}");
}

/// A sum of times in words.
pub(crate) fn sum(parts: &[(&str, Duration)]) -> String {
    let each: Vec<String> = parts.iter().map(|(what, time)| format!("{what} {}", shown(*time))).collect();
    format!("{} = {}", each.join(" + "), shown(parts.iter().map(|(_, time)| *time).sum()))
}
