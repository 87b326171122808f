use kong_pdk::{Kong, phase, request};

fn access(kong: &mut Kong<phase::Access>) {
    // Nobody would see what it gets.
    kong.defer(request::get_method());
}

fn main() {}
