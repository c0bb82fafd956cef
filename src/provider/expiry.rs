//! When a token expires, as a provider file says it.

/// An expiry in a reply.
#[derive(Clone, Debug)]
pub struct Expiry {
    /// The JSON Pointer.
    pub at: String,
    /// What it counts.
    pub unit: Unit,
    /// What a zero means.
    pub zero: Zero,
    /// What a negative number means.
    pub negative: Zero,
}

/// What an expiry counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds from now.
    Seconds,
    /// Milliseconds from now.
    Milliseconds,
    /// Minutes from now.
    Minutes,
    /// Seconds since 1970.
    Epoch,
    /// Milliseconds since 1970.
    EpochMillis,
    /// A date: RFC 3339 or RFC 1123.
    Date,
    /// A day in UTC, at whose beginning it ends, in this order of its parts.
    Day(DayOrder),
    /// `D:HH:MM` from now, also `HH:MM`.
    DaysHoursMinutes,
    /// `HH:MM:SS` from now.
    HoursMinutesSeconds,
    /// By size: below 1e9 seconds from now, below 1e11 epoch seconds, else epoch milliseconds.
    Auto,
}

/// The order of the parts of a day, with `/`, `-` or `.` between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DayOrder {
    /// `12/31/2027`
    MonthDayYear,
    /// `31/12/2027`
    DayMonthYear,
    /// `2027-12-31`
    YearMonthDay,
}

/// What a zero in an expiry means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zero {
    /// The expiry is unknown.
    Unknown,
    /// It never expires.
    Never,
    /// It has expired.
    Now,
}

/// A token's lifetime if the reply names none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// In seconds.
    Seconds(i64),
    /// It never expires.
    Unlimited,
    /// Until this time of day comes next, in seconds since midnight in UTC.
    TimeOfDay(i64),
}
