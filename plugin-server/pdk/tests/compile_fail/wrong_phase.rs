use kong_pdk::{Exit, Kong, argument::Status, log, phase, request, response, service};

async fn access(kong: &mut Kong<phase::Access>) {
    let _ = kong.call(log::serialize()).await;
    let _ = kong.call(response::get_status()).await;
}

async fn in_log(kong: &mut Kong<phase::Log>) {
    let _ = kong.batch((request::get_headers(Default::default()), request::get_method())).await;
    kong.defer(response::set_header("x-late", "1"));
}

async fn response(kong: &mut Kong<phase::Response>) {
    kong.defer(service::request::set_header("x-late", "1"));
    let _ = kong.call(Exit::new(Status::OK)).await;
}

fn main() {}
