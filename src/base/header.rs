//! HTTP header lines (RFC 9110 §5).

/// Whether `name` and `value` form exactly one header line.
pub fn is_header(name: &str, value: &str) -> bool {
    is_name(name) && !value.contains(['\r', '\n', '\0'])
}

/// Whether `name` can stand before the colon: visible ASCII. Stricter rules (RFC 9110 §5.1) are the provider file's.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic())
}
