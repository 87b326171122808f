//! One frame: tenants, models, the fullest counters, the newest refusals.
//!
//! # Model
//!
//! Every name comes from a client, so each goes through [`text`]: what is drawn has neither control characters nor more columns
//! than its place. Sections share the lines that there are: each gets one in turn, until it has what it wants.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::limiter::model::{Counter, Refusal, Traffic};
use crate::output::numbers::{compact, dollars, rate, time};
use crate::output::text::{self, left, right};

use super::snapshot::Snapshot;

/// Columns of a number.
const NUMBER: usize = 10;
/// Columns of a counter's bar.
const BAR: usize = 20;
/// Columns that a name has at least.
const NAME: usize = 8;
/// The most lines of a section, however much room there is.
const MOST_LINES: usize = 20;
/// From this height on, sections stand apart.
const SPACIOUS: usize = 20;
/// Less than this of a counter is left: it is shown as scarce, and as spent.
const SCARCE: f64 = 0.3;
const SPENT: f64 = 0.05;

/// What tenants and models are sorted by, from the largest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    #[default]
    Rate,
    Requests,
    Refused,
    Tokens,
    Cost,
    /// From a to z.
    Name,
}

impl Sort {
    pub(super) fn next(self) -> Self {
        match self {
            Self::Rate => Self::Requests,
            Self::Requests => Self::Refused,
            Self::Refused => Self::Tokens,
            Self::Tokens => Self::Cost,
            Self::Cost => Self::Name,
            Self::Name => Self::Rate,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Rate => "tokens/s",
            Self::Requests => "requests",
            Self::Refused => "refused",
            Self::Tokens => "tokens",
            Self::Cost => "cost",
            Self::Name => "name",
        }
    }

    fn sorted(self, traffic: &[Traffic]) -> Vec<&Traffic> {
        let mut sorted: Vec<&Traffic> = traffic.iter().collect();
        sorted.sort_by(|one, other| {
            let by_amount = match self {
                Self::Rate => other.tokens_per_second.total_cmp(&one.tokens_per_second),
                Self::Requests => other.requests.cmp(&one.requests),
                Self::Refused => other.refused.cmp(&one.refused),
                Self::Tokens => other.tokens.cmp(&one.tokens),
                Self::Cost => other.cost_microdollars.cmp(&one.cost_microdollars),
                Self::Name => std::cmp::Ordering::Equal,
            };
            by_amount.then_with(|| one.name().cmp(other.name()))
        });
        sorted
    }
}

/// The last reading failed.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) reason: String,
    /// How old what is shown is.
    pub(super) shown_since: Duration,
}

/// What is drawn.
#[derive(Debug)]
pub(super) struct View {
    address: String,
    pub(super) snapshot: Snapshot,
    pub(super) sort: Sort,
    pub(super) trouble: Option<Trouble>,
    pub(super) coloured: bool,
}

impl View {
    pub(super) fn new(address: &str, snapshot: Snapshot) -> Self {
        Self {
            address: address.to_owned(),
            snapshot,
            sort: Sort::default(),
            trouble: None,
            coloured: false,
        }
    }

    /// The frame as lines of text, as high as it needs.
    pub(super) fn plain(&self, columns: u16) -> String {
        let lines = self.lines(usize::from(columns), usize::MAX);
        let text: Vec<String> = lines
            .iter()
            .map(|line| format!("{}\n", line.to_string().trim_end()))
            .collect();
        text.concat()
    }

    /// The head and the sections, in at most so many lines.
    fn lines(&self, width: usize, height: usize) -> Vec<Line<'static>> {
        let mut out = vec![self.title(width), self.totals(width)];
        let usage = &self.snapshot.usage;
        let mut sections = [
            traffic("tenant", &self.sort.sorted(&usage.tenants), width),
            traffic("model", &self.sort.sorted(&usage.models), width),
            self.counters(width),
            refusals(&self.snapshot.refusals, width),
        ];
        let gaps = usize::from(height >= SPACIOUS);
        let room = height.saturating_sub(out.len() + sections.len() * (1 + gaps));
        let wanted = sections
            .each_ref()
            .map(|section| section.rows.len().min(MOST_LINES));
        for (section, lines) in sections.iter_mut().zip(share(room, wanted)) {
            out.extend(std::iter::repeat_n(Line::default(), gaps));
            out.push(Line::styled(
                section.heading.clone(),
                Style::new().add_modifier(Modifier::BOLD),
            ));
            out.extend(section.rows.drain(..).take(lines));
        }
        out.truncate(height);
        out
    }

    fn title(&self, width: usize) -> Line<'static> {
        let about = format!(
            "last {} s, by {}",
            self.snapshot.usage.window_seconds,
            self.sort.name()
        );
        let name = "kongctl top  ";
        let room = width.saturating_sub(name.len() + text::width(&about) + 1);
        Line::from(vec![
            Span::styled(name, Style::new().add_modifier(Modifier::BOLD)),
            Span::raw(left(&self.address, room)),
            Span::raw(format!(" {about}")),
        ])
    }

    fn totals(&self, width: usize) -> Line<'static> {
        let totals = &self.snapshot.usage.totals;
        let words = format!(
            "{} tokens/s   {} requests   {} refused   {} tokens   {}",
            rate(totals.tokens_per_second),
            compact(totals.requests),
            compact(totals.refused),
            compact(totals.tokens),
            dollars(totals.cost_microdollars)
        );
        Line::raw(text::fit(&words, width))
    }

    fn counters(&self, width: usize) -> Section {
        // The bar after two spaces, its percentage, what is left, when it resets.
        let numbers = BAR + 2 + 5 + 2 * NUMBER + 2;
        let name = width.saturating_sub(numbers).max(NAME);
        let row = |counter: &Counter| {
            let share = counter.left();
            let color = match share {
                _ if !self.coloured => Color::Reset,
                share if share < SPENT => Color::Red,
                share if share < SCARCE => Color::Yellow,
                _ => Color::Green,
            };
            let mode = if counter.mode == "shadow" {
                " (shadow)"
            } else {
                ""
            };
            let label = format!("{} {}{mode}", counter.limit_name, counter.identity());
            Line::from(vec![
                Span::raw(format!("{}  ", left(&label, name))),
                Span::styled(bar(share), Style::new().fg(color)),
                Span::raw(format!(
                    "{} {} {}",
                    right(&percent(share), 5),
                    right(&compact(counter.remaining), NUMBER),
                    right(&time(counter.reset_after_ms), NUMBER)
                )),
            ])
        };
        Section {
            heading: format!(
                "{}  {}{} {} {}",
                left("FULLEST COUNTERS", name),
                left("", BAR),
                right("LEFT", 5),
                right("UNITS", NUMBER),
                right("RESETS", NUMBER)
            ),
            rows: or_none(self.snapshot.counters.iter().map(row).collect()),
        }
    }

    fn footer(&self, width: usize) -> Line<'static> {
        let keys = "q leave   s sort";
        match &self.trouble {
            None => Line::raw(text::fit(keys, width)),
            Some(trouble) => {
                let age = u64::try_from(trouble.shown_since.as_millis()).unwrap_or(u64::MAX);
                let words = format!("{keys}   {} old: {}", time(age), trouble.reason);
                let style = if self.coloured {
                    Style::new().fg(Color::Red)
                } else {
                    Style::new()
                };
                Line::styled(text::fit(&words, width), style)
            }
        }
    }
}

impl Widget for &View {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Some(above) = area.height.checked_sub(1) else {
            return;
        };
        let width = usize::from(area.width);
        for (line, y) in self
            .lines(width, usize::from(above))
            .iter()
            .zip(area.y..area.y + above)
        {
            buffer.set_line(area.x, y, line, area.width);
        }
        buffer.set_line(area.x, area.y + above, &self.footer(width), area.width);
    }
}

struct Section {
    heading: String,
    rows: Vec<Line<'static>>,
}

fn or_none(mut rows: Vec<Line<'static>>) -> Vec<Line<'static>> {
    if rows.is_empty() {
        rows.push(Line::raw("none"));
    }
    rows
}

fn traffic(of: &str, all: &[&Traffic], width: usize) -> Section {
    let name = width.saturating_sub(5 * (NUMBER + 1)).max(NAME);
    let numbers = |cells: [&str; 5]| {
        cells
            .map(|cell| format!(" {}", right(cell, NUMBER)))
            .concat()
    };
    let row = |traffic: &&Traffic| {
        Line::raw(format!(
            "{}{}",
            left(traffic.name(), name),
            numbers([
                &rate(traffic.tokens_per_second),
                &compact(traffic.requests),
                &compact(traffic.refused),
                &compact(traffic.tokens),
                &dollars(traffic.cost_microdollars),
            ])
        ))
    };
    Section {
        heading: format!(
            "{}{}",
            left(&of.to_uppercase(), name),
            numbers(["TOKENS/S", "REQUESTS", "REFUSED", "TOKENS", "COST"])
        ),
        rows: or_none(all.iter().map(row).collect()),
    }
}

fn refusals(all: &[Refusal], width: usize) -> Section {
    const KIND: usize = 18;
    let name = (width.saturating_sub(2 * (NUMBER + 1) + KIND + 3) / 3).max(NAME);
    let line = |cells: [&str; 6]| {
        let [ago, kind, limit, tenant, model, retry] = cells;
        format!(
            "{} {} {} {} {} {}",
            left(ago, NUMBER),
            left(kind, KIND),
            left(limit, name),
            left(tenant, name),
            left(model, name),
            right(retry, NUMBER)
        )
    };
    let row = |refusal: &Refusal| {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        Line::raw(line([
            &time(refusal.at_ms_ago),
            &refusal.kind.replace('_', " "),
            &or_dash(&refusal.limit_name),
            &or_dash(&refusal.tenant),
            &or_dash(&refusal.model),
            &refusal.retry_after_ms.map_or_else(|| "-".to_owned(), time),
        ]))
    };
    Section {
        heading: line(["REFUSED", "WHY", "LIMIT", "TENANT", "MODEL", "RETRY IN"]),
        rows: or_none(all.iter().map(row).collect()),
    }
}

/// `█` for what is left, `░` for what is used. Only a counter with nothing left has no `█`.
fn bar(share: f64) -> String {
    let full = if share > 0.0 {
        let nearest = (1..=BAR)
            .rev()
            .find(|&cells| cells as f64 <= share * BAR as f64);
        nearest.unwrap_or(1)
    } else {
        0
    };
    format!("{}{}", "█".repeat(full), "░".repeat(BAR - full))
}

fn percent(share: f64) -> String {
    format!("{:.0}%", (share * 100.0).floor())
}

/// Deals lines out, one to each section in turn, until they are gone or nobody wants more.
fn share(mut lines: usize, wanted: [usize; 4]) -> [usize; 4] {
    let mut got = [0; 4];
    while lines > 0 && got != wanted {
        for (got, wanted) in got.iter_mut().zip(wanted) {
            if lines > 0 && *got < wanted {
                *got += 1;
                lines -= 1;
            }
        }
    }
    got
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::{from_value, json};

    use super::*;

    fn view() -> View {
        let tenant = |name: &str, requests: u64, tokens: u64| {
            json!({"tenant": name, "requests": requests, "refused": requests / 10, "tokens": tokens,
                   "cost_microdollars": tokens * 5, "tokens_per_second": tokens as f64 / 60.0})
        };
        let model = |name: &str| json!({"model": name, "requests": 20, "tokens": 900, "tokens_per_second": 15.0});
        let counter = |name: &str, tenant: &str, used: u64, remaining: u64| {
            json!({"key": format!("{used:032x}"), "limit_name": name, "unit": "total_tokens", "limit": 1000, "used": used,
                   "remaining": remaining, "reset_after_ms": 42_000, "mode": "enforce", "values": {"claim:tenant": tenant}})
        };
        let refusal = |kind: &str, tenant: &str| {
            json!({"at_ms_ago": 1500, "kind": kind, "limit_name": "tokens-per-minute", "unit": "total_tokens", "tenant": tenant,
                   "model": "gpt-4o", "retry_after_ms": 12_000})
        };
        let usage = json!({
            "window_seconds": 60,
            "tenants": [
                tenant("acme", 120, 1_234_567),
                tenant("\x1b[2J\u{202e}evil\u{9b}31m", 40, 9000),
                tenant("日本語の長い名前のテナント株式会社", 400, 50),
                tenant(&"long".repeat(5000), 1, 1),
            ],
            "models": [model("gpt-4o"), model("claude-sonnet")],
            "totals": {"requests": 561, "refused": 56, "tokens": 1_243_618, "cost_microdollars": 6_218_090,
                       "tokens_per_second": 20_726.9},
        });
        let counters = json!([
            counter("tokens-per-minute", "acme", 250, 750),
            counter("tokens-per-minute", "\x1b]0;evil\x07", 1200, 0),
            counter("requests", "日本語の長い名前のテナント株式会社", 990, 10),
        ]);
        let refusals = json!([
            refusal("denied", "acme"),
            refusal("never_passes", "\r\n\x1b[H")
        ]);
        let snapshot = Snapshot::of(
            from_value(usage).unwrap(),
            from_value(counters).unwrap(),
            from_value(refusals).unwrap(),
        );
        View::new("http://127.0.0.1:8007", snapshot)
    }

    fn drawn(view: &View, width: u16, height: u16) -> TestBackend {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal
            .draw(|frame| frame.render_widget(view, frame.area()))
            .unwrap();
        terminal.backend().clone()
    }

    #[test]
    fn a_frame_on_80_by_24() {
        insta::assert_snapshot!(drawn(&view(), 80, 24));
    }

    #[test]
    fn a_frame_that_is_old_says_so_and_sorts_as_told() {
        let mut view = view();
        view.sort = view.sort.next();
        view.trouble = Some(Trouble {
            reason: "no answer\x1b[2J".to_owned(),
            shown_since: Duration::from_secs(5),
        });
        insta::assert_snapshot!(drawn(&view, 80, 24));
    }

    #[test]
    fn no_size_is_too_small_and_nothing_hostile_is_drawn() {
        let view = view();
        for (width, height) in [(0, 0), (1, 1), (3, 30), (20, 2), (79, 10), (200, 60)] {
            let shown = drawn(&view, width, height);
            let cells = shown.buffer().content();
            assert!(
                cells
                    .iter()
                    .all(|cell| !cell.symbol().chars().any(char::is_control))
            );
        }
        let plain = view.plain(80);
        let hostile = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!plain.chars().any(hostile), "{plain:?}");
        assert!(plain.lines().all(|line| text::width(line) <= 80), "{plain}");
    }

    #[test]
    fn a_bar_is_empty_only_when_nothing_is_left() {
        assert_eq!(bar(0.0), "░".repeat(BAR));
        assert!(bar(0.001).starts_with("█░") && bar(0.999).ends_with("█░"));
        assert_eq!(bar(1.0), "█".repeat(BAR));
    }

    #[test]
    fn lines_are_shared_by_turns() {
        assert_eq!(share(9, [1, 10, 2, 10]), [1, 3, 2, 3]);
        assert_eq!(share(100, [1, 2, 3, 4]), [1, 2, 3, 4]);
        assert_eq!(share(0, [1, 1, 1, 1]), [0; 4]);
    }

    #[test]
    fn sorting_comes_back_to_where_it_began() {
        let mut sort = Sort::default();
        for _ in 0..6 {
            sort = sort.next();
        }
        assert_eq!(sort, Sort::default());
    }
}
