//! The phases of a request in which Kong calls an external plugin.
//!
//! Each phase is a type, so that a [`Call`](crate::call::Call) can say where Kong permits it
//! ([`Permitted`](crate::call::Permitted)), and a value of [`PhaseName`] where it is data.

use std::fmt;

mod sealed {
    pub trait Sealed {}
}

/// A phase as a type.
pub trait Phase: sealed::Sealed + Send + Sync + 'static {
    /// The same phase as a value.
    const NAME: PhaseName;
}

macro_rules! phases {
    ($($(#[$doc:meta])* $phase:ident = $name:literal;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy)]
            pub enum $phase {}

            impl sealed::Sealed for $phase {}

            impl Phase for $phase {
                const NAME: PhaseName = PhaseName::$phase;
            }
        )*

        /// A phase as a value.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum PhaseName {
            $($(#[$doc])* $phase,)*
        }

        impl PhaseName {
            /// Every phase, in the order in which a request meets them (`preread` last: it belongs to TCP streams).
            pub const ALL: &[Self] = &[$(Self::$phase,)*];

            /// Kong's name, as in a dump and in an event.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$phase => $name,)* }
            }

            /// The phase of this name.
            pub fn from_name(name: &[u8]) -> Option<Self> {
                Self::ALL.iter().copied().find(|phase| phase.as_str().as_bytes() == name)
            }
        }
    };
}

phases! {
    /// While the TLS certificate is chosen: there is no request yet. Global plugins only.
    Certificate = "certificate";
    /// Before Kong has chosen a route. Global plugins only.
    Rewrite = "rewrite";
    /// After routing, before the request goes to the upstream: where a policy decides.
    Access = "access";
    /// After the upstream has answered, before the client gets it. **Declaring this phase makes Kong hold the whole answer
    /// back**: streams cease to stream.
    Response = "response";
    /// After the client has its answer; nobody waits.
    Log = "log";
    /// Before a TCP or TLS stream is proxied.
    Preread = "preread";
}

impl PhaseName {
    /// Whether a plugin may answer in Kong's place here.
    pub const fn can_exit(self) -> bool {
        matches!(
            self,
            Self::Rewrite | Self::Access | Self::Response | Self::Preread
        )
    }
}

impl fmt::Display for PhaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
