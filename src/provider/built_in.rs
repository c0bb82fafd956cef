//! The built-in providers: the files of `src/providers/`, as `build.rs` joins them.

/// Names and files, one after another. All in one string: in a list of strings each is an address, which must be
/// relocated at every start, and a cached token would take longer with each provider.
const TEXT: &str = include_str!(concat!(env!("OUT_DIR"), "/providers.txt"));

/// The lengths of names and files, in bytes.
const LENGTHS: &[(usize, usize)] = include!(concat!(env!("OUT_DIR"), "/providers.rs"));

/// The provider of an API that is logged in to by its address.
pub const BY_ADDRESS: &str = "resource";

/// Each one's name and file, by name.
pub fn built_in() -> impl Iterator<Item = (&'static str, &'static str)> {
    LENGTHS.iter().scan(TEXT, |rest, (name, file)| {
        let (name, behind) = rest.split_at(*name);
        let (file, behind) = behind.split_at(*file);
        *rest = behind;
        Some((name, file))
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_name_has_its_file() {
        for (name, file) in super::built_in() {
            let path = format!("{}/src/providers/{name}.toml", env!("CARGO_MANIFEST_DIR"));
            assert_eq!(std::fs::read_to_string(path).expect("its file"), file);
        }
        let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/providers")).expect("the folder");
        assert_eq!(files.count(), super::built_in().count());
    }
}
