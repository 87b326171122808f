//! Where a request carries its token (RFC 6750 §2), and the request without it.

use crate::jwt::presented::Scheme;

/// The places that are searched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Locations {
    /// Header names, lower-case. `authorization` must carry the `Bearer` scheme, another header may.
    pub headers: Vec<String>,
    /// Cookie names, case-sensitive.
    pub cookies: Vec<String>,
    /// Query parameter names, case-sensitive.
    pub parameters: Vec<String>,
    /// Whether `authorization` may carry the scheme `DPoP` instead (RFC 9449 §7.1).
    pub dpop: bool,
}

/// What a search came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Search {
    /// No location holds a token.
    Nothing,
    /// One token, perhaps several times.
    One(Found),
    /// Two different tokens (RFC 6750 §2: one method a request).
    Several,
}

/// A token and the headers that held it. Cookies and parameters are found again by their configured names.
#[derive(PartialEq, Eq)]
pub struct Found {
    /// The token as sent.
    pub token: Vec<u8>,
    /// The scheme under which it was sent: `Bearer`, but for `DPoP` in `authorization`.
    pub scheme: Scheme,
    /// Names (lower-case) of the headers that held it.
    pub headers: Vec<String>,
    /// Whether a cookie held it.
    pub in_cookie: bool,
    /// Whether a query parameter held it.
    pub in_query: bool,
}

impl std::fmt::Debug for Found {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Found")
            .field("token", &"[redacted]")
            .field("scheme", &self.scheme)
            .field("headers", &self.headers)
            .field("in_cookie", &self.in_cookie)
            .field("in_query", &self.in_query)
            .finish()
    }
}

impl Locations {
    /// Searches a request: `headers` as (name, value) with one pair for each line, names in any case; `query` is the
    /// raw query string.
    pub fn search<'r>(
        &self,
        headers: impl Iterator<Item = (&'r [u8], &'r [u8])>,
        query: &[u8],
    ) -> Search {
        let mut tokens = Tokens {
            found: None,
            several: false,
        };
        for (name, value) in headers {
            if let Some(known) = self
                .headers
                .iter()
                .find(|known| known.as_bytes().eq_ignore_ascii_case(name))
                && let Some((scheme, token)) = self.header_token(known, value)
                && let Some(found) = tokens.add(scheme, token)
                && !found.headers.contains(known)
            {
                found.headers.push(known.clone());
            }
            if !self.cookies.is_empty() && name.eq_ignore_ascii_case(b"cookie") {
                for (_, token) in cookies(value).filter(|(name, _)| is_named(&self.cookies, name)) {
                    if let Some(found) = tokens.add(Scheme::Bearer, trim(token)) {
                        found.in_cookie = true;
                    }
                }
            }
        }
        if !self.parameters.is_empty() {
            for pair in query.split(|byte| *byte == b'&') {
                let (name, value) = split_once(pair, b'=').unwrap_or((pair, b""));
                if is_named(&self.parameters, &percent_decoded(name))
                    && let Some(found) = tokens.add(Scheme::Bearer, &percent_decoded(value))
                {
                    found.in_query = true;
                }
            }
        }
        match tokens {
            Tokens { several: true, .. } => Search::Several,
            Tokens {
                found: Some(found), ..
            } => Search::One(found),
            Tokens { found: None, .. } => Search::Nothing,
        }
    }
}

impl Locations {
    fn header_token<'v>(&self, name: &str, value: &'v [u8]) -> Option<(Scheme, &'v [u8])> {
        let value = trim(value);
        if let Some(token) = after_scheme(value, b"bearer") {
            return Some((Scheme::Bearer, token));
        }
        match name {
            "authorization" if self.dpop => {
                after_scheme(value, b"dpop").map(|token| (Scheme::Dpop, token))
            }
            "authorization" | "proxy-authorization" => None,
            _ => Some((Scheme::Bearer, value)),
        }
    }
}

impl Search {
    /// The scheme of the token, if there is one.
    pub fn scheme(&self) -> Scheme {
        match self {
            Self::One(found) => found.scheme,
            Self::Nothing | Self::Several => Scheme::Bearer,
        }
    }
}

struct Tokens {
    found: Option<Found>,
    several: bool,
}

impl Tokens {
    fn add(&mut self, scheme: Scheme, token: &[u8]) -> Option<&mut Found> {
        if token.is_empty() {
            return None;
        }
        let found = self.found.get_or_insert_with(|| Found {
            token: token.to_vec(),
            scheme,
            headers: Vec::new(),
            in_cookie: false,
            in_query: false,
        });
        // One token under two schemes asks for two judgements.
        if found.token == token && found.scheme == scheme {
            Some(found)
        } else {
            self.several = true;
            None
        }
    }
}

/// What follows the scheme `named` (lower-case) and a space.
fn after_scheme<'v>(value: &'v [u8], named: &[u8]) -> Option<&'v [u8]> {
    let (scheme, rest) = value.split_at_checked(named.len())?;
    (scheme.eq_ignore_ascii_case(named) && rest.first() == Some(&b' ')).then(|| trim(rest))
}

/// The cookie header's value without the named cookies; `None` when nothing is left.
pub fn without_cookies(value: &[u8], names: &[String]) -> Option<Vec<u8>> {
    let kept: Vec<&[u8]> = value
        .split(|byte| *byte == b';')
        .map(trim)
        .filter(|pair| !pair.is_empty() && !is_named(names, cookie_name(pair)))
        .collect();
    if kept.is_empty() {
        None
    } else {
        Some(kept.join(&b"; "[..]))
    }
}

/// The raw query string without the named parameters, the rest byte for byte.
pub fn without_parameters(query: &[u8], names: &[String]) -> Vec<u8> {
    let kept: Vec<&[u8]> = query
        .split(|byte| *byte == b'&')
        .filter(|pair| {
            let name = split_once(pair, b'=').map_or(*pair, |(name, _)| name);
            !is_named(names, &percent_decoded(name))
        })
        .collect();
    kept.join(&b"&"[..])
}

fn cookies(value: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    value.split(|byte| *byte == b';').filter_map(|pair| {
        let (name, value) = split_once(pair, b'=')?;
        Some((trim(name), value))
    })
}

fn cookie_name(pair: &[u8]) -> &[u8] {
    trim(split_once(pair, b'=').map_or(pair, |(name, _)| name))
}

fn is_named(names: &[String], name: &[u8]) -> bool {
    names.iter().any(|known| known.as_bytes() == name)
}

fn split_once(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == separator)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

fn trim(bytes: &[u8]) -> &[u8] {
    bytes.trim_ascii()
}

/// `application/x-www-form-urlencoded` decoding; a broken escape stays as it is.
fn percent_decoded(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        let escape = match (first, tail) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        if let Some(byte) = escape {
            decoded.push(byte);
            rest = &tail[2..];
        } else {
            decoded.push(if *first == b'+' { b' ' } else { *first });
            rest = tail;
        }
    }
    decoded
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everywhere() -> Locations {
        Locations {
            headers: vec!["authorization".into(), "x-token".into()],
            cookies: vec!["session".into()],
            parameters: vec!["jwt".into()],
            dpop: false,
        }
    }

    fn search(headers: &[(&str, &str)], query: &str) -> Search {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        everywhere().search(headers, query.as_bytes())
    }

    fn token(search: Search) -> String {
        match search {
            Search::One(found) => String::from_utf8(found.token).unwrap(),
            other => panic!("no single token: {other:?}"),
        }
    }

    #[test]
    fn each_location_is_searched() {
        assert_eq!(
            token(search(&[("Authorization", "bEaReR   a.b.c ")], "")),
            "a.b.c"
        );
        assert_eq!(token(search(&[("x-token", "a.b.c")], "")), "a.b.c");
        assert_eq!(token(search(&[("X-Token", "Bearer a.b.c")], "")), "a.b.c");
        assert_eq!(
            token(search(&[("cookie", "x=1; session=a.b.c; y")], "")),
            "a.b.c"
        );
        assert_eq!(token(search(&[], "x=1&%6Awt=a%2Eb.c&flag")), "a.b.c");
    }

    #[test]
    fn another_scheme_or_an_empty_value_is_no_token() {
        for value in [
            "Basic YTpi",
            "Bearer",
            "Bearer ",
            "Bearera.b.c",
            "a.b.c",
            "",
        ] {
            assert_eq!(
                search(&[("authorization", value)], "jwt=&jwt"),
                Search::Nothing,
                "{value:?}"
            );
        }
    }

    #[test]
    fn the_scheme_dpop_counts_only_where_it_is_spoken() {
        let headers = [(&b"authorization"[..], &b"dPoP a.b.c"[..])];
        assert_eq!(
            everywhere().search(headers.into_iter(), b""),
            Search::Nothing
        );
        let spoken = Locations {
            dpop: true,
            ..everywhere()
        };
        let search = spoken.search(headers.into_iter(), b"");
        assert_eq!(search.scheme(), Scheme::Dpop);
        assert_eq!(token(search), "a.b.c");
        let both = [headers[0], (b"authorization", b"Bearer a.b.c")];
        assert_eq!(spoken.search(both.into_iter(), b""), Search::Several);
    }

    #[test]
    fn one_token_twice_is_one_and_two_tokens_are_several() {
        let twice = search(
            &[
                ("authorization", "Bearer a.b.c"),
                ("cookie", "session=a.b.c"),
            ],
            "jwt=a.b.c",
        );
        let Search::One(found) = twice else {
            panic!("one token")
        };
        assert_eq!(
            (found.headers, found.in_cookie, found.in_query),
            (vec!["authorization".to_owned()], true, true)
        );
        assert_eq!(
            search(
                &[
                    ("authorization", "Bearer a.b.c"),
                    ("authorization", "Bearer d")
                ],
                ""
            ),
            Search::Several
        );
        assert_eq!(
            search(&[("authorization", "Bearer a.b.c")], "jwt=d"),
            Search::Several
        );
        assert_eq!(
            search(&[("cookie", "session=a; session=b")], ""),
            Search::Several
        );
    }

    #[test]
    fn hiding_leaves_the_rest_as_it_was() {
        let names = ["session".to_owned(), "jwt".to_owned()];
        assert_eq!(
            without_cookies(b"a=1; session=x;b=2; session=y", &names).unwrap(),
            b"a=1; b=2"
        );
        assert_eq!(without_cookies(b"session=x", &names), None);
        assert_eq!(
            without_parameters(b"a=%20+&jwt=x&flag&%6Awt=y&b=", &names),
            b"a=%20+&flag&b="
        );
        assert_eq!(without_parameters(b"jwt=x", &names), b"");
    }

    #[test]
    fn a_broken_escape_stays_as_it_is() {
        assert_eq!(percent_decoded(b"%"), b"%");
        assert_eq!(percent_decoded(b"%2"), b"%2");
        assert_eq!(percent_decoded(b"%zz%41+"), b"%zzA ");
    }

    #[test]
    fn debug_output_holds_no_token() {
        let found = search(&[("authorization", "Bearer secret.token.here")], "");
        assert!(!format!("{found:?}").contains("secret"));
    }
}
