//! What must not compile: calls in a phase that does not permit them, and attributes that Kong would refuse.

#[test]
fn mistakes_do_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
