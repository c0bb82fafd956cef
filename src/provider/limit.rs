//! How often a provider may be asked: an item of `limits`.

/// What a provider takes of one profile in a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What is counted.
    pub of: Counted,
    /// How many of them.
    pub count: usize,
    /// In how long, in seconds.
    pub within: i64,
}

/// What a [`Limit`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Requests for a token.
    Requests,
    /// Those that were refused.
    Refusals,
}

impl Limit {
    /// The most that one may count.
    pub const MOST: usize = 1000;

    /// Until when there is to be no other, in seconds since 1970; `None`: it may be now. `times`: when the others were, the
    /// oldest first. One that is yet to come was noted before the clock was set back, and counts for nothing.
    pub fn until(&self, times: &[i64], now: i64) -> Option<i64> {
        let ends = times.iter().filter(|at| **at <= now).map(|at| at.saturating_add(self.within));
        let open: Vec<i64> = ends.filter(|end| *end > now).collect();
        open.len().checked_sub(self.count).map(|first| open[first])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_counts_makes_room() {
        let limit = Limit { of: Counted::Requests, count: 2, within: 60 };
        assert_eq!(limit.until(&[], 1_000), None);
        assert_eq!(limit.until(&[999], 1_000), None);
        assert_eq!(limit.until(&[941, 990], 1_000), Some(1_001));
        assert_eq!(limit.until(&[940, 990], 1_000), None);
        assert_eq!(limit.until(&[941, 950, 990], 1_000), Some(1_010));
        assert_eq!(limit.until(&[990, 2_000], 1_000), None);
    }
}
