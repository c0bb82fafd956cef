//! The built-in providers: the files of `src/providers/`, as `build.rs` joins them.

/// Names and files, one after another. All in one string: in a list of strings each is an address, which must be
/// relocated at every start, and a cached token would take longer with each provider.
const TEXT: &str = include_str!(concat!(env!("OUT_DIR"), "/providers.txt"));

/// Where each of them is.
const PLACES: &[Place] = include!(concat!(env!("OUT_DIR"), "/providers.rs"));

/// Where a provider is in [`TEXT`], in bytes: small numbers, as there are many.
struct Place {
    /// The length of its name.
    name: u16,
    /// The length of its file, which follows.
    file: u16,
    /// Where in its file the title begins and ends.
    title: (u16, u16),
    /// Likewise, what it is for.
    kind: (u16, u16),
    /// Its place among the first; 0: none.
    featured: u8,
}

/// The provider of an API that is logged in to by its address.
pub const BY_ADDRESS: &str = "resource";

/// A built-in provider, with what a list shows of it: reading its file takes a thousand times as long as that.
#[derive(Clone, Copy)]
pub struct BuiltIn {
    /// The name of its file.
    pub name: &'static str,
    /// Its file.
    pub text: &'static str,
    place: &'static Place,
}

impl BuiltIn {
    /// What people call it.
    pub fn title(self) -> &'static str {
        self.part(self.place.title)
    }

    /// What it is for.
    pub fn kind(self) -> &'static str {
        self.part(self.place.kind)
    }

    /// Its place among the first in the choice of `tok login`, if it has one.
    pub fn featured(self) -> Option<i64> {
        (self.place.featured > 0).then_some(self.place.featured.into())
    }

    fn part(self, (from, to): (u16, u16)) -> &'static str {
        self.text.get(from.into()..to.into()).unwrap_or_default()
    }
}

/// All of them, by name.
pub fn built_in() -> impl Iterator<Item = BuiltIn> {
    PLACES.iter().scan(TEXT, |rest, place| {
        let (name, behind) = rest.split_at(place.name.into());
        let (text, behind) = behind.split_at(place.file.into());
        *rest = behind;
        Some(BuiltIn { name, text, place })
    })
}

#[cfg(test)]
mod tests {
    use crate::provider::Provider;

    #[test]
    fn each_name_has_its_file() {
        for built_in in super::built_in() {
            let path = format!("{}/src/providers/{}.toml", env!("CARGO_MANIFEST_DIR"), built_in.name);
            assert_eq!(std::fs::read_to_string(path).expect("its file"), built_in.text);
        }
        let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/providers")).expect("the folder");
        assert_eq!(files.count(), super::built_in().count());
    }

    #[test]
    fn they_are_a_small_part_of_the_program() {
        let table = size_of_val(super::PLACES);
        assert!(super::TEXT.len() + table <= 700_000, "{} bytes and a table of {table}", super::TEXT.len());
    }

    #[test]
    fn what_a_list_shows_is_what_the_file_says() {
        for built_in in super::built_in() {
            let provider = Provider::built_in(built_in.name).expect("it is one").expect("its file is right");
            let said = (provider.title.as_str(), provider.about.kind, provider.featured);
            assert_eq!((built_in.title(), Some(built_in.kind()), built_in.featured()), said, "{}", built_in.name);
        }
    }
}
