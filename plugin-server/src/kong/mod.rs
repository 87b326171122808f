//! The front: the phases of both plugins on Kong's PDK. It asks Kong what a policy needs, and tells Kong what it decided;
//! it decides nothing itself, and no policy imports it.

pub mod jwt;
pub mod rate_limiting;
mod redis;
