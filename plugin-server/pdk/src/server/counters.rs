//! What the server counts, for metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The server's counters. All but `open_connections` only grow.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub(crate) $name: AtomicU64,)*
        }

        /// The counters at one moment.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Snapshot {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Reads all the counters. They are read one by one: sums may be off by what happens meanwhile.
            pub fn snapshot(&self) -> Snapshot {
                Snapshot { $($name: self.$name.load(Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Connections that are open now.
    open_connections,
    /// Events that Kong has sent for known instances.
    events,
    /// Events whose handler answered in Kong's place.
    exits,
    /// Events whose handler returned an error.
    failures,
    /// Events whose handler panicked.
    panics,
    /// Events whose handler took too long.
    deadlines,
    /// Events refused because too many were under way.
    rejections,
    /// Events during which Kong ended the connection.
    interrupted,
    /// Events for instances that are not known here, after which the connection was closed.
    unknown_instances,
    /// Events that met a configuration the plugin cannot use.
    unusable,
    /// Instances that Kong has started.
    started_instances,
    /// Connections that ended because of bytes that are not Kong's protocol.
    protocol_errors,
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// Counts a connection as open for as long as it lives.
pub(crate) struct Open<'a>(&'a Counters);

impl<'a> Open<'a> {
    pub(crate) fn new(counters: &'a Counters) -> Self {
        count(&counters.open_connections);
        Self(counters)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open_connections.fetch_sub(1, Relaxed);
    }
}
