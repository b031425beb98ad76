//! Writes lines of cells: cut to the width, made safe, in the colours and characters this terminal has.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use unicode_width::UnicodeWidthStr;

use crate::text::{cells, cut};
use crate::view::words::Marks;

/// What a terminal can show.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub colour: bool,
    pub marks: Marks,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone<'a> {
    Plain,
    Strong,
    Dim,
    /// The colour of a state.
    State(&'a str),
}

pub struct Pen<'a> {
    buffer: &'a mut Buffer,
    pub look: Look,
}

impl Pen<'_> {
    pub fn new(buffer: &mut Buffer, look: Look) -> Pen<'_> {
        Pen { buffer, look }
    }

    pub fn area(&self) -> Rect {
        self.buffer.area
    }

    pub fn width(&self) -> usize {
        self.area().width.into()
    }

    /// One line from the left. Parts that do not fit are cut.
    pub fn line(&mut self, y: usize, parts: &[(Tone<'_>, &str)]) {
        if y >= usize::from(self.area().height) {
            return;
        }
        let mut x = 0;
        for (tone, text) in parts {
            let room = self.width().saturating_sub(x);
            let text = cut(&self.safe(text), room);
            self.buffer.set_stringn(x as u16, y as u16, &text, room, self.style(*tone));
            x += text.width();
        }
    }

    /// The whole line stands out.
    pub fn mark(&mut self, y: usize) {
        let area = Rect { x: 0, y: y as u16, width: self.area().width, height: 1 };
        self.buffer.set_style(area.intersection(self.area()), Style::new().add_modifier(Modifier::REVERSED));
    }

    pub fn symbol(&self, status: &str) -> &'static str {
        self.look.marks.symbol(status)
    }

    /// As wide as said, cut or filled up.
    pub fn fit(&self, text: &str, width: usize) -> String {
        let text = cut(&self.safe(text), width);
        format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
    }

    /// A line across the page with a title in it.
    pub fn rule(&mut self, y: usize, title: &str) {
        let dash = if self.look.marks == Marks::Unicode { "─" } else { "-" };
        let title = cut(&self.safe(title), self.width().saturating_sub(6));
        let rest = self.width().saturating_sub(title.width() + 4);
        let (before, after) = (format!("{dash}{dash} "), format!(" {}", dash.repeat(rest)));
        self.line(y, &[(Tone::Dim, &before), (Tone::Strong, &title), (Tone::Dim, &after)]);
    }

    fn safe(&self, text: &str) -> String {
        self.look.marks.text(&cells(text))
    }

    fn style(&self, tone: Tone<'_>) -> Style {
        let style = Style::new();
        let coloured = |colour: Color| if self.look.colour { style.fg(colour) } else { style };
        match tone {
            Tone::Plain => style,
            Tone::Strong => style.add_modifier(Modifier::BOLD),
            Tone::Dim => style.add_modifier(Modifier::DIM),
            Tone::State("succeeded") => coloured(Color::Green),
            Tone::State("failed" | "timed_out") => coloured(Color::Red).add_modifier(Modifier::BOLD),
            Tone::State("lost" | "held" | "backoff" | "waiting" | "paused") => {
                coloured(Color::Yellow).add_modifier(Modifier::BOLD)
            }
            Tone::State("running") => coloured(Color::Cyan),
            Tone::State(_) => style.add_modifier(Modifier::DIM),
        }
    }
}
