//! The terminal as a full screen, and as it was again whatever ends the program: an error, a panic, a signal, Ctrl-Z.

use std::io::{self, IsTerminal, Stdout, stdin, stdout};
use std::sync::Once;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ratatui::Terminal as Screen;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::{cursor, execute, terminal};
use ratatui::layout::Rect;
use tokio::sync::mpsc;

use super::draw::{Look, draw};
use super::keys::Key;
use super::model::Watch;
use crate::failure::Failure;

/// What the terminal says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    Key(Key),
    Resized,
    /// There is no terminal any more.
    Gone,
}

pub struct Terminal {
    screen: Screen<CrosstermBackend<Stdout>>,
    heard: mpsc::UnboundedReceiver<Heard>,
}

impl Terminal {
    /// Whether somebody sees a screen, and can press a key.
    pub fn is_there() -> bool {
        stdin().is_terminal() && stdout().is_terminal()
    }

    /// Takes the terminal. Anything else is told what to use instead.
    pub fn open() -> Result<Terminal, Failure> {
        let instead = "`runward watch RUN --format text` follows one run, line by line, to its end; `runward runs --unfinished` lists \
                       what is under way";
        if !Terminal::is_there() {
            return Err(Failure::usage("`runward watch` needs a terminal").help(instead));
        }
        if std::env::var("TERM").map_or(true, |term| term == "dumb" || term.is_empty()) {
            return Err(Failure::usage("this terminal (TERM=dumb) has no full screen").help(instead));
        }
        let broken = |error: io::Error| Failure::usage(format!("the terminal cannot be used: {error}")).help(instead);
        restore_on_panic();
        enter().map_err(broken)?;
        let screen = Screen::new(CrosstermBackend::new(stdout())).inspect_err(|_| leave()).map_err(broken)?;
        Ok(Terminal { screen, heard: listen() })
    }

    /// The next thing the terminal says.
    pub async fn next(&mut self) -> Heard {
        self.heard.recv().await.unwrap_or(Heard::Gone)
    }

    pub fn draw(&mut self, watch: &mut Watch, now: i64, look: Look) -> io::Result<()> {
        let size = self.screen.size()?;
        watch.size = (size.width, size.height);
        let watch = &*watch;
        execute!(stdout(), terminal::BeginSynchronizedUpdate)?;
        self.screen.draw(|frame| draw(watch, now, look, frame.buffer_mut()))?;
        execute!(stdout(), terminal::EndSynchronizedUpdate)
    }

    /// Gives the terminal to the shell until somebody brings the program back.
    pub fn suspend(&mut self) -> io::Result<()> {
        leave();
        // The whole group, as the terminal itself would do it. This returns when it is continued.
        let _ = kill(Pid::from_raw(0), Signal::SIGSTOP);
        enter()?;
        let size = self.screen.size()?;
        self.screen.resize(Rect::new(0, 0, size.width, size.height))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        leave();
    }
}

fn enter() -> io::Result<()> {
    terminal::enable_raw_mode()?;
    execute!(stdout(), terminal::EnterAlternateScreen, cursor::Hide)
}

/// As it was. A terminal that is gone needs nothing.
fn leave() {
    let _ = execute!(stdout(), terminal::EndSynchronizedUpdate, cursor::Show, terminal::LeaveAlternateScreen);
    let _ = terminal::disable_raw_mode();
}

fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            leave();
            before(panic);
        }));
    });
}

/// Keys come through a thread of their own: a terminal has no read that can be called off. It ends with the process.
fn listen() -> mpsc::UnboundedReceiver<Heard> {
    let (tell, heard) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        loop {
            let heard = match event::read() {
                Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => Heard::Key(key_of(key)),
                Ok(Event::Resize(..)) => Heard::Resized,
                Ok(_) => continue,
                Err(_) => Heard::Gone,
            };
            if tell.send(heard).is_err() || heard == Heard::Gone {
                return;
            }
        }
    });
    heard
}

fn key_of(key: KeyEvent) -> Key {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c') if control => Key::Interrupt,
        KeyCode::Char('z') if control => Key::Suspend,
        KeyCode::Char(_) if control || key.modifiers.contains(KeyModifiers::ALT) => Key::Other,
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        _ => Key::Other,
    }
}
