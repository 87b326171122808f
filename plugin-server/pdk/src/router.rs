//! `kong.router`: the route and the service of this request.

use crate::call::calls;
pub use crate::wire::{Route, Service};

calls! {
    /// The route that matched; `None` if none did.
    "kong.router.get_route" in [Access Response Log]
    fn get_route() -> GetRoute(()) {} => Option<Route>, |route: Route| (route != Route::default()).then_some(route);

    /// The service that the route belongs to; `None` for a route without one.
    "kong.router.get_service" in [Access Response Log]
    fn get_service() -> GetService(()) {}
    => Option<Service>, |service: Service| (service != Service::default()).then_some(service);
}
