//! What the crates of `tests/`, `fuzz/` and `benches/` name, under the paths that it has here, and nothing else: whatever
//! is not listed is private to the program, so that the compiler finds what nobody uses.

pub mod base {
    pub mod date {
        pub use crate::base::date::{LAST, parse, show};
    }
    pub mod duration {
        pub use crate::base::duration::{parse, show};
    }
    pub mod error {
        pub use crate::base::error::{Error, Kind, Result, kind};
    }
    pub mod jose {
        pub use crate::base::jose::{Jwks, Key, certificate_thumbprint, verify};
        pub mod jwt {
            pub use crate::base::jose::jwt::claims;
        }
    }
    pub mod name {
        pub use crate::base::name::{is_name, is_value_name};
    }
    pub mod secret {
        pub use crate::base::secret::Secret;
    }
    pub mod text {
        pub use crate::base::text::{escape, escape_to, is_unsafe};
    }
    pub mod time {
        pub use crate::base::time::Time;
    }
    pub mod url {
        pub use crate::base::url::{Url, base};
    }
}

pub mod cli {
    pub use crate::cli::{Catalog, GrantRow, Registers, Shell, Syntax, TargetRow, command};
}

pub mod cmd {
    pub mod completions {
        pub use crate::cmd::completions::script;
    }
    pub mod output {
        pub use crate::cmd::output::Answer;
        pub mod env {
            pub use crate::cmd::output::env::write;
        }
    }
}

#[cfg(unix)]
pub mod fast_path {
    pub use crate::fast_path::line;
}

pub mod oauth {
    pub mod callback {
        pub use crate::oauth::callback::{Callback, ExpectedRedirect, pasted, read};
    }
    pub mod challenge {
        pub use crate::oauth::challenge::parse;
    }
    pub mod client_auth {
        pub use crate::oauth::client_auth::{Moment, add_to, assertion, choose};
    }
    pub mod poll {
        pub use crate::oauth::poll::Poll;
    }
    pub mod reply {
        pub use crate::oauth::reply::{Failure, Note, object, read, value};
    }
    pub mod request {
        pub use crate::oauth::request::{
            Added, ClientCertificate, Repeat, Request, Response, Unready, Values, build, defaults, url,
        };
    }
}

pub mod profile {
    pub mod config {
        pub use crate::profile::config::{Config, ConfigValue, Edit, PlainValue, edit};
    }
    pub mod discovery {
        pub use crate::oauth::metadata::First;
        pub use crate::profile::discovery::{Copies, discover, jwks};
    }
}

pub mod provider {
    pub use crate::provider::{Auth, Call, Flow, Grant, Method, Provider, Rules, Template, Test, built_in};
    pub mod template {
        pub use crate::provider::template::Piece;
    }
}

pub mod session {
    pub mod acquire {
        pub use crate::session::acquire::TokenSource;
    }
    pub mod journal {
        pub use crate::session::journal::{Sealer, open};
    }
}

pub mod storage {
    pub mod choice {
        pub use crate::storage::choice::StoreChoice;
    }
    pub mod head {
        pub use crate::storage::head::CachedHead;
    }
    pub mod lock {
        pub use crate::storage::lock::{Lock, LockError};
    }
    pub mod secrets {
        pub use crate::storage::secrets::{Store, StoreError, StoreErrorKind};
        pub mod file {
            pub use crate::storage::secrets::file::FileStore;
        }
        pub mod helper {
            pub use crate::storage::secrets::helper::HelperStore;
        }
        pub mod keyring {
            pub use crate::storage::secrets::keyring::KeyringStore;
        }
        pub mod split {
            pub use crate::storage::secrets::split::Split;
        }
    }
}

pub mod system {
    pub mod files {
        pub use crate::system::files::{
            Durable, ReadError, Unsafe, private_dir, read_private, read_user_file, write_private,
        };
    }
    pub mod http {
        pub use crate::system::http::{Events, Head, Http, NetworkSettings, check_client_certificate, real, response};
        pub mod proxy {
            pub use crate::system::http::proxy::{Variables, is_listed};
        }
        pub mod retry {
            pub use crate::system::http::retry::retry_after;
        }
    }
}

pub mod token {
    pub use crate::token::{Expires, Token, is_token};
    pub mod credentials {
        pub use crate::token::credentials::Credentials;
    }
    pub mod freshness {
        pub use crate::token::freshness::freshness;
    }
    pub mod identity {
        pub use crate::token::identity::{CurrentIdentity, KnownSecret, TokenIdentity};
    }
}
