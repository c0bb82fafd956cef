//! How a reply is read: `[response]`, as types.

use super::*;

/// The rules of a grant, which most share.
pub(super) fn rules_of(own: Option<&Table>, shared: &Shared, base: Option<&Arc<Rules>>) -> Arc<Rules> {
    match (own, shared.reply, base) {
        (None, None, Some(base)) => base.clone(),
        (None, _, None) => shared.rules.clone(),
        _ => rules(own, shared.reply, base.map(Arc::as_ref)).into(),
    }
}

/// How a reply is read: each key from `own`, else from `shared`, else from `base`, else as RFC 6749 says. What is wrong
/// is noted.
pub(super) fn rules(own: Option<&Table>, shared: Option<&Table>, base: Option<&Rules>) -> Rules {
    let usual = usual_rules();
    let base = base.unwrap_or(&usual);
    let get = |key: &'static str| {
        let own = own.and_then(|t| t.get(key));
        // Asked for in both, so that both know the key.
        let shared = shared.and_then(|t| t.get(key));
        own.or(shared)
    };
    let list = |key: &'static str, base: &Vec<String>| taken(get(key), pointers).unwrap_or_else(|| base.clone());
    let expiries =
        |key: &'static str, base: &Vec<Expiry>| get(key).map_or_else(|| base.clone(), |value| items(value, expiry));
    let error = taken(get("error"), |v| v.table());
    let error_list = |key: &'static str, base: &Vec<String>| {
        taken(error.as_ref().and_then(|t| t.get(key)), pointers).unwrap_or_else(|| base.clone())
    };
    let format = |value: TomlValue| {
        value.choice(&[
            ("auto", BodyFormat::Auto),
            ("json", BodyFormat::Json),
            ("form", BodyFormat::Form),
            ("text", BodyFormat::Text),
            ("json-string", BodyFormat::JsonString),
            ("jsonp", BodyFormat::Jsonp),
            ("xml", BodyFormat::Xml),
        ])
    };
    let lifetime = |value: TomlValue| {
        Ok(match value.text()? {
            "unlimited" => Lifetime::Unlimited,
            text if let Some(time) = text.strip_prefix("until ") => Lifetime::TimeOfDay(time_of_day(value, time)?),
            text => Lifetime::Seconds(duration(value, text)?),
        })
    };
    let extra = |value: TomlValue| {
        let table = value.table()?;
        let entry = |(name, _, inner)| Some((name, value.keep(pointers(inner))?));
        Ok(table.all().into_iter().filter_map(entry).collect::<Vec<_>>())
    };
    let rules = Rules {
        format: taken(get("format"), format).unwrap_or(base.format),
        success: get("success").map_or_else(|| base.success.clone(), tests),
        refused: get("refused").map_or_else(|| base.refused.clone(), tests),
        unavailable: get("unavailable").map_or_else(|| base.unavailable.clone(), tests),
        access_token: taken(get("access_token"), find).unwrap_or_else(|| base.access_token.clone()),
        refresh_token: list("refresh_token", &base.refresh_token),
        token_type: list("token_type", &base.token_type),
        scope: list("scope", &base.scope),
        id_token: list("id_token", &base.id_token),
        expires: expiries("expires", &base.expires),
        refresh_expires: expiries("refresh_expires", &base.refresh_expires),
        lifetime: taken(get("lifetime"), lifetime).or(base.lifetime),
        refresh_lifetime: taken(get("refresh_lifetime"), |v| duration(v, v.text()?)).or(base.refresh_lifetime),
        renews_itself: base.renews_itself,
        error_code: error_list("code", &base.error_code),
        error_message: error_list("message", &base.error_message),
        extra: taken(get("extra"), extra).unwrap_or_else(|| base.extra.clone()),
    };
    if let Some(error) = error {
        error.finish();
    }
    rules
}

/// What `read` takes of a value that is there; what is wrong with it is noted.
fn taken<'d, 't, T>(value: Option<TomlValue<'d, 't>>, read: impl FnOnce(TomlValue<'d, 't>) -> Result<T>) -> Option<T> {
    value.and_then(|value| value.keep(read(value)))
}

/// A list whose items `read` takes, each for itself.
pub(super) fn items<'d, 't, T>(value: TomlValue<'d, 't>, read: impl Fn(TomlValue<'d, 't>) -> Result<T>) -> Vec<T> {
    let list = value.keep(value.list()).unwrap_or_default();
    list.into_iter().filter_map(|item| value.keep(read(item))).collect()
}

impl Default for Rules {
    /// Those of RFC 6749 §5.
    fn default() -> Rules {
        usual_rules()
    }
}

/// As RFC 6749 §5 says, and the usual places of errors.
pub(super) fn usual_rules() -> Rules {
    Rules {
        format: BodyFormat::Auto,
        success: Vec::new(),
        refused: Vec::new(),
        unavailable: Vec::new(),
        access_token: Find::At(strings(&["/access_token"])),
        refresh_token: strings(&["/refresh_token"]),
        token_type: strings(&["/token_type"]),
        scope: strings(&["/scope"]),
        id_token: strings(&["/id_token"]),
        expires: vec![Expiry { at: "/expires_in".into(), unit: Unit::Seconds, zero: Zero::Now, negative: Zero::Now }],
        refresh_expires: Vec::new(),
        lifetime: None,
        refresh_lifetime: None,
        renews_itself: false,
        error_code: strings(&["/error", "/error/code", "/errors/0/status"]),
        error_message: strings(&[
            "/error_description",
            "/error/message",
            "/errors/0/detail",
            "/errors/0/title",
            "/message",
        ]),
        extra: Vec::new(),
    }
}

pub(super) fn duration(value: TomlValue, text: &str) -> Result<i64> {
    crate::base::duration::parse(text).map_err(|why| value.error(why))
}

/// `header = "…"` or `cookie = "…"`; `None` if the table has neither, or both.
pub(super) fn named(table: &Table) -> Result<Option<Find>> {
    let name = |value: TomlValue| {
        header_name(value, value.text()?)?;
        Ok(value.text()?.to_string())
    };
    Ok(match (table.get("header"), table.get("cookie")) {
        (Some(header), None) => Some(Find::Header(name(header)?)),
        (None, Some(cookie)) => Some(Find::Cookie(name(cookie)?)),
        _ => None,
    })
}

pub(super) fn find(value: TomlValue) -> Result<Find> {
    if let DeValue::Table(_) = value.raw() {
        let table = value.table()?;
        let found = named(&table)?
            .ok_or_else(|| value.error("expected a list of JSON Pointers, { header = \"…\" } or { cookie = \"…\" }"))?;
        table.done()?;
        return Ok(found);
    }
    Ok(Find::At(pointers(value)?))
}

/// What an odd number means.
const ZEROS: &[(&str, Zero)] = &[("unknown", Zero::Unknown), ("never", Zero::Never), ("now", Zero::Now)];

/// `until 06:00 +05:30`: when that time of day comes, in seconds since midnight in UTC.
fn time_of_day(value: TomlValue, text: &str) -> Result<i64> {
    const SHAPE: &str = "expected a duration, `unlimited`, or a time of day with its offset: `until 06:00 +05:30`";
    let clock = |text: &str| {
        let (hours, minutes) = text.split_once(':')?;
        let number = |text: &str, below: i64| {
            let number = text.parse::<i64>().ok().filter(|_| text.len() == 2 && !text.starts_with(['+', '-']))?;
            (number < below).then_some(number)
        };
        Some(number(hours, 24)? * 3600 + number(minutes, 60)? * 60)
    };
    let seconds = || {
        let (time, offset) = text.split_once(' ')?;
        let (sign, offset) = match offset.strip_prefix('-') {
            Some(offset) => (-1, offset),
            None => (1, offset.strip_prefix('+')?),
        };
        Some((clock(time)? - sign * clock(offset)?).rem_euclid(86_400))
    };
    seconds().ok_or_else(|| value.error(SHAPE))
}

/// What units are called elsewhere, and here.
const UNITS: &[(&str, &[&str])] = &[
    ("seconds", &["s", "sec", "secs", "second", "expires_in", "ttl"]),
    ("milliseconds", &["ms", "msec", "millis", "millisecond"]),
    ("minutes", &["m", "min", "mins", "minute"]),
    (
        "epoch",
        &["unix", "unixtime", "unix-time", "unix_time", "timestamp", "epoch-seconds", "epoch_seconds", "numericdate"],
    ),
    (
        "epoch-millis",
        &["unix-ms", "unix_ms", "epoch-ms", "epoch_ms", "epoch_millis", "epochmillis", "epoch-milliseconds"],
    ),
    (
        "date",
        &[
            "iso8601",
            "iso-8601",
            "iso",
            "rfc3339",
            "rfc-3339",
            "rfc1123",
            "rfc2822",
            "http-date",
            "datetime",
            "date-time",
        ],
    ),
];

fn unit(value: TomlValue) -> Result<Unit> {
    const NAMES: &[(&str, Unit)] = &[
        ("seconds", Unit::Seconds),
        ("milliseconds", Unit::Milliseconds),
        ("minutes", Unit::Minutes),
        ("epoch", Unit::Epoch),
        ("epoch-millis", Unit::EpochMillis),
        ("date", Unit::Date),
        ("mm/dd/yyyy", Unit::Day(DayOrder::MonthDayYear)),
        ("dd/mm/yyyy", Unit::Day(DayOrder::DayMonthYear)),
        ("yyyy-mm-dd", Unit::Day(DayOrder::YearMonthDay)),
        ("d:hh:mm", Unit::DaysHoursMinutes),
        ("hh:mm:ss", Unit::HoursMinutesSeconds),
        ("auto", Unit::Auto),
    ];
    let text = value.text()?.to_ascii_lowercase();
    match UNITS.iter().find(|(_, others)| others.contains(&text.as_str())) {
        Some((ours, _)) => {
            Err(value.error(format!("unknown choice `{}`; did you mean `{ours}`?", escape(value.text()?))))
        }
        None => value.choice(NAMES),
    }
}

pub(super) fn expiry(value: TomlValue) -> Result<Expiry> {
    let table = value.table()?;
    let Some(at) = table.get("at") else {
        return Err(value.error("missing `at`: the JSON Pointer of the expiry"));
    };
    let expiry = Expiry {
        at: pointer(at)?,
        unit: table.get("as").map_or(Ok(Unit::Seconds), unit)?,
        zero: table.get("zero").map_or(Ok(Zero::Now), |v| v.choice(ZEROS))?,
        negative: table.get("negative").map_or(Ok(Zero::Now), |v| v.choice(ZEROS))?,
    };
    table.done()?;
    Ok(expiry)
}

pub(super) fn tests(value: TomlValue) -> Vec<Test> {
    items(value, test)
}

pub(super) fn test(value: TomlValue) -> Result<Test> {
    let table = value.table()?;
    let status = table.get("status");
    let at = table.get("at");
    let inside = table.get("in");
    let outside = table.get("not-in");
    let present = table.get("present");
    table.done()?;
    if let Some(status) = status {
        if at.is_some() || inside.is_some() || outside.is_some() || present.is_some() {
            return Err(value.error("a test has either `status` or `at`, not both"));
        }
        let list = status.list()?.into_iter().map(|v| {
            u16::try_from(v.integer()?)
                .ok()
                .filter(|s| (100..600).contains(s))
                .ok_or_else(|| v.error("not an HTTP status (100 to 599)"))
        });
        return Ok(Test::Status(list.collect::<Result<_>>()?));
    }
    let Some(at) = at else {
        return Err(value.error("missing `at`: the JSON Pointer of the value to test"));
    };
    let scalars = |v: TomlValue| v.list()?.into_iter().map(scalar).collect::<Result<Vec<_>>>();
    let condition = match (inside, outside, present) {
        (Some(list), None, None) if !list.list()?.is_empty() => Condition::In(scalars(list)?),
        (None, Some(list), None) if !list.list()?.is_empty() => Condition::NotIn(scalars(list)?),
        (None, None, Some(flag)) if flag.flag()? => Condition::Present,
        (Some(list), None, None) | (None, Some(list), None) => return Err(list.error("expected one value at least")),
        _ => return Err(value.error("a test needs one of: in = […], not-in = […], present = true")),
    };
    Ok(Test::At(pointer(at)?, condition))
}
