//! What is drawn: functions of what is to be seen.

use ceremony::script::{Role, Step};
use custody::name::Name;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Paragraph};

use crate::front::{Progress, printable};
use crate::handover::{Frame as Code, SIDE_MODULES};

/// How many words stand beside each other: 33 in eleven rows.
const COLUMNS: u16 = 3;

/// Width of a word with its number: two digits, a point, a space, eight letters, and room.
const WORD_WIDTH: u16 = 15;

/// Columns of the longest hint: two words of eight letters, and what stands around them.
const HINT_WIDTH: u16 = 44;

/// How something is drawn that one person alone may see: in a rehearsal or not, of a component, the text.
pub(super) type Private = fn(&mut Frame<'_>, bool, &str, &str);

/// Most lines of a question, of which the last is typed in.
const QUESTION_LINES: usize = 6;

/// Whether and how something is typed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Entry {
    /// Nothing is.
    #[default]
    None,
    /// For all to see.
    Open,
    /// As a count.
    Hidden,
}

/// All that a page shows. No secret is here.
#[derive(Clone, Debug, Default)]
pub(super) struct Page {
    pub(super) rehearsal: bool,
    pub(super) id: String,
    pub(super) log: Vec<String>,
    pub(super) scrolled: usize,
    pub(super) question: String,
    pub(super) entry: Entry,
    pub(super) input: String,
    pub(super) cover: Option<String>,
    pub(super) progress: (usize, usize),
    pub(super) who: String,
    pub(super) says: String,
    pub(super) keeps: String,
    pub(super) secret: bool,
}

impl Page {
    /// Turns to a step.
    pub(super) fn begin(&mut self, step: &Step, progress: Progress) {
        let people: Vec<&str> = step.people.iter().map(|person| person.as_str()).collect();
        self.rehearsal = progress.rehearsal;
        self.id.clone_from(&step.id);
        self.progress = (progress.step, progress.of);
        self.who = format!("{} ({})", people.join(", "), role(step.role));
        self.says = printable(&step.says);
        self.keeps = step.records.join(", ");
        self.secret = step.secret;
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Operator => "operator",
        Role::KeyCustodian => "key custodian",
        Role::Witness => "witness",
        Role::SecurityOfficer => "security officer",
    }
}

fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

/// The first line of every frame.
fn head(frame: &mut Frame<'_>, rehearsal: bool, text: &str) {
    let mark = if rehearsal { "REHEARSAL · a network for tests · " } else { "" };
    let line = format!(" {mark}{text}");
    let style = Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD);
    frame.render_widget(Paragraph::new(line).style(style), row(frame.area(), 0, 1));
}

/// Some rows of an area, as far as it has them.
fn row(area: Rect, from: u16, rows: u16) -> Rect {
    let (from, rows) = (from.min(area.height), rows.min(area.height.saturating_sub(from)));
    Rect { y: area.y.saturating_add(from), height: rows, ..area }
}

fn rows(lines: usize) -> u16 {
    u16::try_from(lines).unwrap_or(u16::MAX)
}

/// A step, what was said, and the question.
pub(super) fn page(frame: &mut Frame<'_>, page: &Page) {
    let area = frame.area();
    let width = usize::from(area.width.max(1));
    let (at, of) = page.progress;
    let secret = if page.secret { " · SECRETS IN THE MACHINE" } else { "" };
    head(frame, page.rehearsal, &format!("keyward-ceremony · step {at} of {of} · {}{secret}", page.id));

    let mut top = vec![Line::from(bar(at, of, width)), Line::styled(format!("Who:  {}", page.who), bold())];
    top.extend(indented("Do:   ", &page.says, width).into_iter().map(Line::from));
    if !page.keeps.is_empty() {
        top.extend(indented("For:  the report keeps ", &page.keeps, width).into_iter().map(Line::from));
    }
    let mut below: Vec<Line<'_>> = wrap(&page.question, width)
        .into_iter()
        .take(QUESTION_LINES)
        .map(|line| Line::styled(line, bold()))
        .collect();
    if page.entry != Entry::None {
        let typed: Vec<char> = page.input.chars().collect();
        let shown = typed.len().saturating_sub(width.saturating_sub(4));
        let tail: String = typed.into_iter().skip(shown).collect();
        below.push(Line::from(format!("> {tail}▏")));
    } else if page.question.is_empty() && page.cover.is_none() {
        below.push(Line::from("…"));
    }
    below.push(Line::styled(
        "Enter: answer · PgUp/PgDn: look back · !pause · !abort REASON · Ctrl-C",
        Style::new().add_modifier(Modifier::DIM),
    ));

    let (top_rows, below_rows) = (rows(top.len()), rows(below.len()));
    frame.render_widget(Paragraph::new(top), row(area, 1, top_rows));
    let middle_from = top_rows.saturating_add(1);
    let middle_rows = area.height.saturating_sub(middle_from).saturating_sub(below_rows);
    middle(frame, page, row(area, middle_from, middle_rows));
    frame
        .render_widget(Paragraph::new(below), row(area, middle_from.saturating_add(middle_rows), below_rows));
}

/// What was said, its end or where people looked back to; or the cover of a private step.
fn middle(frame: &mut Frame<'_>, page: &Page, area: Rect) {
    let block = Block::new().borders(Borders::TOP | Borders::BOTTOM);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let width = usize::from(inner.width.max(1));
    let lines: Vec<String> = match &page.cover {
        Some(cover) => {
            let mut lines = vec![String::new()];
            lines.extend(wrap(cover, width));
            lines.extend([String::new(), "Then press Enter.".into()]);
            lines
        }
        None => page.log.iter().flat_map(|line| wrap(line, width)).collect(),
    };
    let height = usize::from(inner.height);
    let last = lines.len().saturating_sub(height);
    let from = if page.cover.is_some() { 0 } else { last.saturating_sub(page.scrolled) };
    let shown: Vec<Line<'_>> = lines.into_iter().skip(from).take(height).map(Line::from).collect();
    frame.render_widget(Paragraph::new(shown), inner);
}

/// The words of a component, numbered, and nothing else.
pub(super) fn words(frame: &mut Frame<'_>, rehearsal: bool, component: &str, words: &str) {
    head(frame, rehearsal, &format!("component {component} · compare each word with the sheet"));
    let area = frame.area();
    let count = words.split(' ').count();
    let height = rows(count).div_ceil(COLUMNS);
    let needed = (COLUMNS.saturating_mul(WORD_WIDTH), height.saturating_add(4));
    if is_too_small(frame, needed, "") {
        return;
    }
    for (number, word) in (0u16..).zip(words.split(' ')) {
        let (x, y) = (number / height * WORD_WIDTH, number % height + 2);
        let numbered = format!("{:>2}. {word}", number.saturating_add(1));
        frame.buffer_mut().set_string(area.x + x, area.y + y, &numbered, bold());
    }
    let foot = Paragraph::new("Enter: clear the screen");
    frame.render_widget(foot, row(area, area.height.saturating_sub(1), 1));
}

/// What the words of a component perhaps should be, a line each.
pub(super) fn hints(frame: &mut Frame<'_>, rehearsal: bool, component: &str, lines: &str) {
    head(frame, rehearsal, &format!("component {component} · look at the medium before you correct"));
    let area = frame.area();
    let needed = (HINT_WIDTH, rows(lines.lines().count()).saturating_add(4));
    if is_too_small(frame, needed, "") {
        return;
    }
    for (y, line) in (area.y.saturating_add(2)..).zip(lines.lines()) {
        frame.buffer_mut().set_string(area.x.saturating_add(1), y, line, bold());
    }
    let foot = Paragraph::new("Enter: clear the screen");
    frame.render_widget(foot, row(area, area.height.saturating_sub(1), 1));
}

/// One of the codes that carry sealed shares, white on black, as large as the window has room for.
pub(super) fn code(frame: &mut Frame<'_>, rehearsal: bool, holder: &Name, code: &Code) {
    head(frame, rehearsal, &format!("sealed shares of {holder} · a camera on the other side reads them"));
    let area = frame.area();
    let high = area.height.saturating_sub(2);
    let scale = (area.width / SIDE_MODULES).min(high.saturating_mul(2) / SIDE_MODULES);
    let needed = (SIDE_MODULES, SIDE_MODULES.div_ceil(2).saturating_add(2));
    if is_too_small(frame, needed, " Or press a key, and choose the file.") {
        return;
    }
    let style = Style::new().fg(Color::White).bg(Color::Black);
    let lines: Vec<Line<'_>> =
        code.half_blocks(scale).into_iter().map(|line| Line::styled(line, style)).collect();
    let left = area.width.saturating_sub(SIDE_MODULES.saturating_mul(scale)) / 2;
    let place = Rect { x: area.x.saturating_add(left), width: area.width.saturating_sub(left), ..area };
    frame.render_widget(Paragraph::new(lines), row(place, 1, high));
    let foot = Paragraph::new("any key: when the other side has the package");
    frame.render_widget(foot, row(area, area.height.saturating_sub(1), 1));
}

/// Whether a window has fewer columns or rows than are needed, which it says then, and what else can be done.
fn is_too_small(frame: &mut Frame<'_>, needed: (u16, u16), otherwise: &str) -> bool {
    let area = frame.area();
    let small = area.width < needed.0 || area.height < needed.1;
    if small {
        let larger = format!(
            "Make the window larger: {} columns by {} rows are needed, it has {} by {}.{otherwise}",
            needed.0, needed.1, area.width, area.height
        );
        let lines: Vec<Line<'_>> =
            wrap(&larger, usize::from(area.width)).into_iter().map(Line::from).collect();
        frame.render_widget(Paragraph::new(lines), row(area, 2, area.height));
    }
    small
}

/// Another letter in every cell.
pub(super) fn pattern(frame: &mut Frame<'_>, rehearsal: bool) {
    let area = frame.area();
    let line = "▒".repeat(usize::from(area.width));
    for y in 0..area.height {
        frame.buffer_mut().set_string(area.x, area.y + y, &line, Style::new());
    }
    head(frame, rehearsal, "the screen is cleared");
}

/// How far it is.
fn bar(at: usize, of: usize, width: usize) -> String {
    let width = width.saturating_sub(2);
    let done = at.saturating_sub(1).saturating_mul(width).checked_div(of).unwrap_or(0).min(width);
    format!("[{}{}]", "=".repeat(done), " ".repeat(width.saturating_sub(done)))
}

/// Lines behind a word of their own.
fn indented(head: &str, text: &str, width: usize) -> Vec<String> {
    let indent = head.chars().count().min(6);
    let lines = wrap(&format!("{}{text}", head.trim_start_matches(' ')), width.saturating_sub(indent));
    let mut lines = lines.into_iter();
    let first = lines.next().into_iter();
    first.chain(lines.map(|line| format!("{}{line}", " ".repeat(indent)))).collect()
}

/// Breaks text between words, and words that are longer than a line.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = vec![String::new()];
    let mut used = 0usize;
    for word in text.split(' ') {
        let letters: Vec<char> = word.chars().collect();
        if used > 0 && used.saturating_add(1).saturating_add(letters.len()) > width {
            lines.push(String::new());
            used = 0;
        } else if used > 0 {
            if let Some(line) = lines.last_mut() {
                line.push(' ');
            }
            used = used.saturating_add(1);
        }
        for letter in letters {
            if used == width {
                lines.push(String::new());
                used = 0;
            }
            if let Some(line) = lines.last_mut() {
                line.push(letter);
            }
            used = used.saturating_add(1);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use ceremony::files::SealedShares;
    use custody::canon;

    use super::*;
    use crate::handover::{Frames, Package};

    fn drawn(width: u16, height: u16, what: impl FnOnce(&mut Frame<'_>)) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(what).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn lines_are_broken_between_words_and_long_words_inside() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
        assert_eq!(wrap("", 3), [""]);
    }

    #[test]
    fn every_frame_of_a_rehearsal_says_so() {
        let all = ["academic"; 33].join(" ");
        for rehearsal in [true, false] {
            let frames = [
                drawn(80, 24, |frame| page(frame, &Page { rehearsal, ..Page::default() })),
                drawn(80, 24, |frame| words(frame, rehearsal, "1.1", &all)),
                drawn(40, 10, |frame| words(frame, rehearsal, "1.1", &all)),
                drawn(80, 24, |frame| pattern(frame, rehearsal)),
                drawn(80, 24, |frame| hints(frame, rehearsal, "1.1", "word 7 is perhaps acid\n")),
                drawn(80, 40, |frame| code(frame, rehearsal, &holder(), &a_code())),
                drawn(80, 24, |frame| code(frame, rehearsal, &holder(), &a_code())),
            ];
            for frame in frames {
                assert_eq!(frame.contains("REHEARSAL"), rehearsal, "{frame}");
            }
        }
    }

    #[test]
    fn all_words_are_on_one_screen_or_none() {
        let list: Vec<String> = (1..=33).map(|n| format!("word{n}x")).collect();
        let frame = drawn(80, 24, |frame| words(frame, false, "1.1", &list.join(" ")));
        for (number, word) in (1..).zip(&list) {
            assert!(frame.contains(&format!("{number}. {word}")), "{frame}");
        }
        let small = drawn(44, 24, |frame| words(frame, false, "1.1", &list.join(" ")));
        assert!(!small.contains("word1x") && small.contains("larger"), "{small}");
    }

    fn holder() -> Name {
        Name::new("s1").unwrap()
    }

    fn a_code() -> Code {
        let shares: SealedShares =
            canon::decode(include_bytes!("../../../ceremony/tests/vectors/shares.json")).unwrap();
        let holder = shares.shares[0].holder.clone();
        Frames::new(&Package::of(&shares, &holder).unwrap()).unwrap().next().unwrap().unwrap()
    }

    #[test]
    fn hints_are_all_seen_or_none() {
        let lines: String =
            (1..=20).map(|n| format!("word {n:>2} is perhaps academic or acrobat\n")).collect();
        let frame = drawn(HINT_WIDTH, 24, |frame| hints(frame, false, "1.1", &lines));
        assert!(lines.lines().all(|line| frame.contains(line)), "{frame}");
        for (width, height) in [(HINT_WIDTH - 1, 24), (HINT_WIDTH, 23)] {
            let small = drawn(width, height, |frame| hints(frame, false, "1.1", &lines));
            assert!(!small.contains("academic") && small.contains("larger"), "{small}");
        }
    }

    #[test]
    fn a_code_fills_the_window_white_on_black_or_says_what_it_needs() {
        let shown = a_code();
        // The least window, one that has not room for twice the size, and one that has.
        for (width, height, scale) in [(65, 35, 1), (130, 66, 1), (129, 67, 1), (130, 67, 2), (200, 101, 3)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            terminal.draw(|frame| code(frame, false, &holder(), &shown)).unwrap();
            let buffer = terminal.backend().buffer();
            let lines = shown.half_blocks(scale);
            let left = (width - SIDE_MODULES * scale) / 2;
            for (y, line) in (1..).zip(&lines) {
                for (x, drawn) in (left..).zip(line.chars()) {
                    let cell = &buffer[(x, y)];
                    assert_eq!(cell.symbol(), drawn.to_string(), "{width} by {height}: {x} {y}");
                    assert_eq!((cell.fg, cell.bg), (Color::White, Color::Black));
                }
            }
            assert!(usize::from(height) >= lines.len() + 2);
        }
        for (width, height) in [(64, 35), (65, 34)] {
            let small = drawn(width, height, |frame| code(frame, false, &holder(), &shown));
            let text: String = small.split(['"', '\n']).collect::<Vec<_>>().join(" ");
            let words: Vec<&str> = text.split_whitespace().collect();
            let needs = format!("65 columns by 35 rows are needed, it has {width} by {height}.");
            assert!(words.join(" ").contains(&needs), "{small}");
        }
    }

    #[test]
    fn the_question_and_the_end_of_what_was_said_are_seen_and_the_rest_by_looking_back() {
        let log = (0..50).map(|n| format!("said {n}.")).collect();
        let question = "What now?".to_owned();
        let mut shown = Page { log, question, entry: Entry::Open, input: "typed".into(), ..Page::default() };
        let frame = drawn(80, 24, |frame| page(frame, &shown));
        for wanted in ["said 49.", "What now?", "> typed"] {
            assert!(frame.contains(wanted), "{wanted}: {frame}");
        }
        assert!(!frame.contains("said 0."), "{frame}");
        shown.scrolled = 1_000;
        assert!(drawn(80, 24, |frame| page(frame, &shown)).contains("said 0."));
        shown.cover = Some("carol alone looks".into());
        let covered = drawn(80, 24, |frame| page(frame, &shown));
        assert!(covered.contains("carol alone looks") && !covered.contains("said"), "{covered}");
    }
}
