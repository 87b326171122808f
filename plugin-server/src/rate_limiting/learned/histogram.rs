//! Lengths of answers in logarithmic buckets.

/// Buckets to each doubling, as a power of two.
const PRECISION: u32 = 2;
/// The longest answer that is told apart from longer ones, in tokens.
const LONGEST: u64 = (1 << 20) - 1;
/// Below the first doubling that is divided, a bucket for each length; then four for each.
const BUCKETS: usize = 76;
/// Answers at which all counts are halved.
const FULL: u32 = 512;

/// How often answers of which length were seen.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    counts: [u16; BUCKETS],
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: [0; BUCKETS],
        }
    }
}

impl Histogram {
    pub(super) fn observe(&mut self, tokens: u64) {
        if self.total() >= FULL {
            for count in &mut self.counts {
                *count /= 2;
            }
        }
        self.counts[bucket(tokens)] += 1;
    }

    /// The end of the bucket up to which 95 of 100 answers are, if at least so many answers were seen.
    pub(super) fn percentile_95(&self, least: u32) -> Option<u64> {
        let total = self.total();
        if total < least {
            return None;
        }
        let rank = (total * 95).div_ceil(100);
        let mut below = 0;
        let bucket = self.counts.iter().position(|&count| {
            below += u32::from(count);
            below >= rank
        })?;
        Some(end(bucket))
    }

    fn total(&self) -> u32 {
        self.counts.iter().map(|&count| u32::from(count)).sum()
    }
}

/// The bucket of a length: `⌊log₂⌋` and the two bits after the first.
fn bucket(tokens: u64) -> usize {
    let tokens = tokens.min(LONGEST);
    let bucket = if tokens < 1 << PRECISION {
        tokens
    } else {
        let shift = tokens.ilog2() - PRECISION;
        (u64::from(shift) << PRECISION) + (tokens >> shift)
    };
    usize::try_from(bucket).expect("a bucket is below 76")
}

/// The largest length in a bucket.
fn end(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let groups = bucket >> PRECISION;
    let shift = groups.saturating_sub(1);
    let first = bucket - (shift << PRECISION);
    ((first + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_meet_without_gaps_and_end_within_a_quarter() {
        assert_eq!((bucket(LONGEST), end(BUCKETS - 1)), (BUCKETS - 1, LONGEST));
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        let mut previous = 0;
        for tokens in 0..=LONGEST {
            let bucket = bucket(tokens);
            assert!(bucket == previous || (bucket == previous + 1 && end(previous) == tokens - 1));
            assert!(end(bucket) >= tokens && end(bucket) - tokens <= tokens / 4);
            previous = bucket;
        }
    }

    #[test]
    fn old_answers_fade() {
        let mut answers = Histogram::default();
        for _ in 0..10_000 {
            answers.observe(4_000);
        }
        for _ in 0..1_500 {
            answers.observe(10);
        }
        assert_eq!(answers.percentile_95(20), Some(11));
        assert!(answers.total() <= FULL);
    }
}
