use std::{fmt, fs};

use testkit::process::Proxy;
use tokio::time::Instant;

/// What the proxy holds, over time.
pub(crate) struct Figures {
    start: Instant,
    samples: Vec<Sample>,
}

#[derive(Clone, Copy)]
struct Sample {
    seconds: f64,
    /// In the order of [`NAMES`].
    values: [f64; 3],
    is_quiet: bool,
}

/// RSS without the pages of the program itself, which come as they are used for the first time.
const NAMES: [&str; 3] = ["anonymous RSS (KiB)", "descriptors", "threads"];
/// Until each fault was there once: what is kept for it is kept then.
const WARM: f64 = 130.0;
/// How much more it may hold at the least in the second half of the time, and still be flat: in an hour that is 1 MiB; and next to
/// nothing. What a moment holds depends on what is under way in it, and says nothing.
const FLAT: [f64; 3] = [512.0, 2.0, 0.0];
/// So many samples tell.
const ENOUGH: usize = 60;

impl Figures {
    pub(crate) fn new(proxy: &Proxy) -> Self {
        let mut figures = Self { start: Instant::now(), samples: Vec::new() };
        figures.sample(proxy, true);
        figures
    }

    pub(crate) fn sample(&mut self, proxy: &Proxy, is_quiet: bool) {
        let threads = fs::read_dir(format!("/proc/{}/task", proxy.id())).expect("it runs").count();
        let values = [proxy.resident_kib().1 as f64, proxy.open_files() as f64, threads as f64];
        self.samples.push(Sample { seconds: self.start.elapsed().as_secs_f64(), values, is_quiet });
    }

    pub(crate) fn files_at_start(&self) -> usize {
        self.samples[0].values[1] as usize
    }

    /// Fails if something grows, where the run was long enough to tell.
    pub(crate) fn assert_flat(&self) {
        for (index, name) in NAMES.iter().enumerate() {
            let points = self.points(index);
            if points.len() < ENOUGH {
                return;
            }
            let middle = f64::midpoint(points[0].0, points[points.len() - 1].0);
            let (first, second): (Vec<_>, Vec<_>) = points.into_iter().partition(|point| point.0 < middle);
            let [first, second] = [first, second].map(|half| half.iter().fold(f64::MAX, |least, point| point.1.min(least)));
            assert!(second - first <= FLAT[index], "{name}: at least {first} in the first half, and {second} in the second\n{self}");
        }
    }

    /// By how much a value grows an hour, with the standard error of that.
    fn slope(&self, index: usize) -> Option<(f64, f64)> {
        let points = self.points(index);
        let count = points.len() as f64;
        if points.len() < ENOUGH {
            return None;
        }
        let (x, y) = (points.iter().map(|point| point.0).sum::<f64>() / count, points.iter().map(|point| point.1).sum::<f64>() / count);
        let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
        let slope = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum::<f64>() / spread;
        let rest: f64 = points.iter().map(|point| (point.1 - y - slope * (point.0 - x)).powi(2)).sum();
        Some((slope, (rest / (count - 2.0) / spread).sqrt()))
    }

    /// Hours and values, in the quiet moments after everything was there once.
    fn points(&self, index: usize) -> Vec<(f64, f64)> {
        let counts = self.samples.iter().filter(|sample| sample.is_quiet && sample.seconds >= WARM);
        counts.map(|sample| (sample.seconds / 3600.0, sample.values[index])).collect()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in NAMES.iter().enumerate() {
            let values = self.samples.iter().map(|sample| sample.values[index]);
            let (first, last) = (self.samples[0].values[index], self.samples[self.samples.len() - 1].values[index]);
            write!(f, "{name}: {first} at first, {last} at last, {} at most", values.fold(0.0, f64::max))?;
            match self.slope(index) {
                Some((slope, error)) => writeln!(f, "; {slope:+.1} an hour, give or take {error:.1}")?,
                None => writeln!(f, "; too short for a slope")?,
            }
        }
        let minutes = self.samples.chunk_by(|a, b| (a.seconds / 60.0).floor() == (b.seconds / 60.0).floor());
        let least = minutes.map(|minute| minute.iter().map(|sample| sample.values[0]).fold(f64::MAX, f64::min));
        writeln!(f, "{}, least in each minute: {:?}", NAMES[0], least.collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(value: impl Fn(f64) -> f64) -> Figures {
        let sample = |second: u32| Sample { seconds: f64::from(second), values: [value(f64::from(second)), 9.0, 2.0], is_quiet: true };
        Figures { start: Instant::now(), samples: (0..3600).map(sample).collect() }
    }

    #[test]
    fn growth_is_told_from_noise() {
        figures(|second| 9000.0 + (second * 7.0) % 50.0).assert_flat();
        let (slope, _) = figures(|second| 9000.0 + second).slope(0).expect("long enough");
        assert!((slope - 3600.0).abs() < 1e-6, "{slope}");
    }

    #[test]
    #[should_panic(expected = "anonymous RSS (KiB): at least 9130 in the first half, and 10865 in the second")]
    fn what_grows_is_not_flat() {
        figures(|second| 9000.0 + second).assert_flat();
    }
}
