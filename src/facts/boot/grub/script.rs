//! The language of `grub.cfg`, as far as it says which kernel is booted with which words (GRUB,
//! `grub-core/script/yylex.l` and `parser.y`).

/// Blocks in blocks; the scripts of `grub-mkconfig` have four.
const DEPTH_LIMIT: usize = 32;
/// Commands of a file; one kernel takes about twenty.
const COMMANDS_LIMIT: usize = 50_000;
/// Words of a file.
const WORDS_LIMIT: usize = 400_000;

/// A part of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Variable { name: String, quoted: bool },
}

/// A word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) pieces: Vec<Piece>,
    /// Whether it is a word even where its variables are empty.
    pub(super) quoted: bool,
}

impl Word {
    /// The word where it has no variables.
    pub(super) fn literal(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The word where it is a reserved one: those in quotes are not.
    fn reserved(&self) -> Option<&str> {
        if self.quoted { None } else { self.literal() }
    }
}

/// A command and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Command {
    /// From 1.
    pub(super) line: u32,
    pub(super) words: Vec<Word>,
}

/// A statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Command(Command),
    If {
        branches: Vec<(Vec<Node>, Vec<Node>)>,
        otherwise: Option<Vec<Node>>,
    },
    /// `menuentry` or `submenu`.
    Menu {
        command: Command,
        body: Vec<Node>,
    },
    Function(Vec<Node>),
    Loop(Vec<Node>),
}

/// Why a file is not understood: a line, and what is wrong there as a clause.
pub(super) type Trouble = (u32, &'static str);

/// Reads a file.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, Trouble> {
    let mut lexer = Lexer { text, at: 0, line: 1 };
    let mut parser = Parser { open: vec![Block::new(Kind::Top)], commands: 0 };
    let mut words: Vec<Word> = Vec::new();
    let mut all_words = 0;
    let mut line = 1;
    loop {
        let at = lexer.line;
        let token = lexer.token()?;
        match token {
            Token::Word(word) => {
                if words.is_empty() {
                    line = at;
                }
                words.push(word);
                all_words += 1;
                if all_words > WORDS_LIMIT {
                    return Err((at, "there are more words than a menu has"));
                }
            }
            Token::End => parser.command(line, std::mem::take(&mut words))?,
            Token::Open => parser.open(line, std::mem::take(&mut words))?,
            Token::Close => {
                parser.command(line, std::mem::take(&mut words))?;
                parser.close(at)?;
            }
            Token::Other => return Err((at, "this is no language of GRUB")),
            Token::Last => {
                parser.command(line, std::mem::take(&mut words))?;
                return parser.finish(at);
            }
        }
    }
}

enum Token {
    Word(Word),
    End,
    Open,
    Close,
    Other,
    Last,
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    line: u32,
}

impl<'t> Lexer<'t> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        self.line = self.line.saturating_add(u32::from(c == '\n'));
        Some(c)
    }

    fn token(&mut self) -> Result<Token, Trouble> {
        loop {
            let Some(c) = self.peek() else { return Ok(Token::Last) };
            let token = match c {
                ' ' | '\t' | '\r' => {
                    self.next();
                    continue;
                }
                '#' => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.next();
                    }
                    continue;
                }
                '\n' | ';' => Token::End,
                '{' => Token::Open,
                '}' => Token::Close,
                '|' | '&' | '<' | '>' => Token::Other,
                _ => return self.word().map(Token::Word),
            };
            self.next();
            return Ok(token);
        }
    }

    fn word(&mut self) -> Result<Word, Trouble> {
        let mut word = Word::default();
        while let Some(c) = self.peek() {
            let line = self.line;
            match c {
                ' ' | '\t' | '\r' | '\n' | ';' | '{' | '}' | '|' | '&' | '<' | '>' => break,
                '\\' => {
                    self.next();
                    match self.next() {
                        Some('\n') => {}
                        Some(c) => push(&mut word, c),
                        None => push(&mut word, '\\'),
                    }
                }
                '\'' => {
                    self.next();
                    word.quoted = true;
                    loop {
                        match self.next() {
                            Some('\'') => break,
                            Some(c) => push(&mut word, c),
                            None => return Err((line, "a quote is not closed")),
                        }
                    }
                }
                '"' => {
                    self.next();
                    word.quoted = true;
                    self.double_quoted(&mut word, line)?;
                }
                '$' => {
                    self.next();
                    // A text that is translated.
                    if self.peek() != Some('"') {
                        self.variable(&mut word, false);
                    }
                }
                c => {
                    self.next();
                    push(&mut word, c);
                }
            }
        }
        Ok(word)
    }

    fn double_quoted(&mut self, word: &mut Word, line: u32) -> Result<(), Trouble> {
        loop {
            match self.next() {
                Some('"') => return Ok(()),
                Some('\\') => match self.next() {
                    Some('\n') => {}
                    Some(c @ ('$' | '\\' | '"')) => push(word, c),
                    Some(c) => {
                        push(word, '\\');
                        push(word, c);
                    }
                    None => {}
                },
                Some('$') => self.variable(word, true),
                Some(c) => push(word, c),
                None => return Err((line, "a quote is not closed")),
            }
        }
    }

    fn variable(&mut self, word: &mut Word, quoted: bool) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let name_in = |text: &'t str| text.split(|c| !is_name(c)).next().unwrap_or_default();
        let braced = rest.strip_prefix('{').map(|rest| (name_in(rest), rest));
        let (inside, braces) = match braced {
            Some((name, rest)) if !name.is_empty() && rest[name.len()..].starts_with('}') => (name, 2),
            _ => (name_in(rest), 0),
        };
        let special = inside.is_empty() && rest.starts_with(['?', '#', '*', '@']);
        let name = if special { rest.get(..1).unwrap_or_default() } else { inside };
        if name.is_empty() {
            push(word, '$');
            return;
        }
        self.at += name.len() + braces;
        word.pieces.push(Piece::Variable { name: name.to_owned(), quoted });
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn push(word: &mut Word, c: char) {
    match word.pieces.last_mut() {
        Some(Piece::Text(text)) => text.push(c),
        _ => word.pieces.push(Piece::Text(c.to_string())),
    }
}

/// What a block that is open will be.
enum Kind {
    Top,
    Menu(Command),
    Function,
    Loop,
    /// The branches that are complete, and the condition of this one once it is.
    If {
        branches: Vec<(Vec<Node>, Vec<Node>)>,
        condition: Option<Vec<Node>>,
    },
    Else {
        branches: Vec<(Vec<Node>, Vec<Node>)>,
    },
}

struct Block {
    kind: Kind,
    nodes: Vec<Node>,
}

impl Block {
    fn new(kind: Kind) -> Block {
        Block { kind, nodes: Vec::new() }
    }
}

struct Parser {
    open: Vec<Block>,
    commands: usize,
}

const MISPLACED: &str = "a block ends that did not begin";

impl Parser {
    fn push(&mut self, line: u32, kind: Kind) -> Result<(), Trouble> {
        if self.open.len() >= DEPTH_LIMIT {
            return Err((line, "blocks are nested too deep"));
        }
        self.open.push(Block::new(kind));
        Ok(())
    }

    fn add(&mut self, node: Node) {
        if let Some(block) = self.open.last_mut() {
            block.nodes.push(node);
        }
    }

    /// What stands before `{`.
    fn open(&mut self, line: u32, mut words: Vec<Word>) -> Result<(), Trouble> {
        while words.first().is_some_and(|word| matches!(word.reserved(), Some("then" | "else" | "do"))) {
            let first = words.remove(0);
            self.command(line, vec![first])?;
        }
        match words.first().and_then(Word::reserved) {
            Some("menuentry" | "submenu") => self.push(line, Kind::Menu(Command { line, words })),
            Some("function") => self.push(line, Kind::Function),
            _ => Err((line, "a block begins that is neither an entry nor a function")),
        }
    }

    fn close(&mut self, line: u32) -> Result<(), Trouble> {
        let Some(Block { kind, nodes }) = self.open.pop() else { return Err((line, MISPLACED)) };
        let node = match kind {
            Kind::Menu(command) => Node::Menu { command, body: nodes },
            Kind::Function => Node::Function(nodes),
            _ => return Err((line, MISPLACED)),
        };
        self.add(node);
        Ok(())
    }

    fn command(&mut self, line: u32, words: Vec<Word>) -> Result<(), Trouble> {
        let mut words = words.into_iter().peekable();
        while let Some(first) = words.peek() {
            match first.reserved() {
                Some("if") => self.push(line, Kind::If { branches: Vec::new(), condition: None })?,
                Some("for") => return self.push(line, Kind::Loop),
                Some("while" | "until") => self.push(line, Kind::Loop)?,
                Some("do") => {}
                Some("then") => self.then(line)?,
                Some("elif") => self.branch(line, false)?,
                Some("else") => self.branch(line, true)?,
                Some("fi") => self.fi(line)?,
                Some("done") => match self.open.pop() {
                    Some(Block { kind: Kind::Loop, nodes }) => self.add(Node::Loop(nodes)),
                    _ => return Err((line, MISPLACED)),
                },
                _ => {
                    self.commands += 1;
                    if self.commands > COMMANDS_LIMIT {
                        return Err((line, "there are more commands than a menu has"));
                    }
                    self.add(Node::Command(Command { line, words: words.collect() }));
                    return Ok(());
                }
            }
            words.next();
        }
        Ok(())
    }

    fn then(&mut self, line: u32) -> Result<(), Trouble> {
        match self.open.last_mut() {
            Some(Block { kind: Kind::If { condition: condition @ None, .. }, nodes }) => {
                *condition = Some(std::mem::take(nodes));
                Ok(())
            }
            _ => Err((line, MISPLACED)),
        }
    }

    fn branch(&mut self, line: u32, last: bool) -> Result<(), Trouble> {
        match self.open.pop() {
            Some(Block { kind: Kind::If { mut branches, condition: Some(condition) }, nodes }) => {
                branches.push((condition, nodes));
                let kind =
                    if last { Kind::Else { branches } } else { Kind::If { branches, condition: None } };
                self.push(line, kind)
            }
            _ => Err((line, MISPLACED)),
        }
    }

    fn fi(&mut self, line: u32) -> Result<(), Trouble> {
        let node = match self.open.pop() {
            Some(Block { kind: Kind::If { mut branches, condition: Some(condition) }, nodes }) => {
                branches.push((condition, nodes));
                Node::If { branches, otherwise: None }
            }
            Some(Block { kind: Kind::Else { branches }, nodes }) => {
                Node::If { branches, otherwise: Some(nodes) }
            }
            _ => return Err((line, MISPLACED)),
        };
        self.add(node);
        Ok(())
    }

    fn finish(mut self, line: u32) -> Result<Vec<Node>, Trouble> {
        match (self.open.pop(), self.open.is_empty()) {
            (Some(Block { kind: Kind::Top, nodes }), true) => Ok(nodes),
            _ => Err((line, "a block does not end")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn blocks_are_put_together() {
        let nodes = parse(
            "if [ \"${a}\" ] ; then\n  set b=1\nelif x; then y\nelse\n  z; fi\nfunction f {\n  g\n}\n\
             menuentry 'A {' --id \"x\\\"y\" { linux /a b=$c\"$d\" # e\n}\nfor i in a b; do h; done\n",
        )
        .unwrap();
        let [
            Node::If { branches, otherwise: Some(_) },
            Node::Function(_),
            Node::Menu { command, body },
            Node::Loop(_),
        ] = nodes.as_slice()
        else {
            panic!("{nodes:?}")
        };
        assert_eq!(branches.len(), 2);
        assert_eq!(command.words[1].literal(), Some("A {"));
        assert_eq!(command.words[3].literal(), Some("x\"y"));
        let [Node::Command(linux)] = body.as_slice() else { panic!("{body:?}") };
        assert_eq!((linux.line, linux.words.len()), (9, 3));
        let variable = |name: &str, quoted| Piece::Variable { name: name.to_owned(), quoted };
        assert_eq!(
            linux.words[2].pieces,
            [Piece::Text("b=".to_owned()), variable("c", false), variable("d", true)]
        );
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (text, line) in [
            ("a\n}\n", 2),
            ("menuentry a {\n", 2),
            ("if a; then\n", 2),
            ("fi\n", 1),
            ("a 'b\n", 1),
            ("a | b\n", 1),
            ("{ a\n}\n", 1),
            ("if a; fi\n", 1),
        ] {
            assert_eq!(parse(text).map_err(|(line, _)| line), Err(line), "{text:?}");
        }
        assert!(parse(&"menuentry a {\n".repeat(40)).unwrap_err().1.contains("deep"));
        assert!(parse(&"a;".repeat(60_000)).unwrap_err().1.contains("commands"));
        assert!(parse(&"a ".repeat(500_000)).unwrap_err().1.contains("words"));
    }

    proptest! {
        #[test]
        fn never_panics(
            text in "(?s)(if |; then |else |elif |fi|menuentry |submenu |function |for |do |done|\
                     \\{|\\}|'|\"|\\$|\\\\|\n|;|.){0,30}"
        ) {
            let _ = parse(&text);
        }
    }
}
