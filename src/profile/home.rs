//! Where a value may go.

/// The origins that a value may go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home(Vec<String>);

impl Home {
    /// One origin, as `Url::origin` gives it.
    pub fn of(origin: impl Into<String>) -> Home {
        Home(vec![origin.into()])
    }

    /// These origins.
    pub fn any_of(origins: impl IntoIterator<Item = String>) -> Home {
        let mut origins: Vec<String> = origins.into_iter().collect();
        origins.dedup();
        Home(origins)
    }

    /// The origins.
    pub fn into_origins(self) -> Vec<String> {
        self.0
    }

    /// Whether a value of this home may go to `origin`.
    pub fn allows(&self, origin: &str) -> bool {
        self.0.iter().any(|home| home == origin)
    }
}

impl std::fmt::Display for Home {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join(" or "))
    }
}
