//! Which characters ahead of the parser are the inside of a text, where brackets and commas are no more than
//! that. Told only where the parser has just told where it is, so that both see the same text.

use std::str::Chars;

/// A file, read up to some character.
pub(super) struct Ahead<'a> {
    rest: Chars<'a>,
    /// How many characters have been read.
    index: usize,
}

/// What stands where a text can begin.
pub(super) enum Before {
    /// A key that begins at this column, within brackets or not.
    Key { column: usize, in_brackets: bool },
    /// The dash of the first item of a list without brackets, at this column, or what comes after it.
    First { column: usize },
    /// Another item of such a list, which ends at this column.
    Item { column: usize },
}

impl<'a> Ahead<'a> {
    pub(super) fn new(text: &'a str) -> Ahead<'a> {
        Ahead { rest: text.chars(), index: 0 }
    }

    /// What has been told never goes back; where it does, nothing is known.
    fn go(&mut self, index: usize) -> Option<()> {
        let skip = index.checked_sub(self.index)?;
        if skip > 0 {
            self.rest.nth(skip - 1)?;
            self.index = index;
        }
        Some(())
    }

    /// Whether one of these stands there; where that is not known, it does.
    pub(super) fn is_any(&mut self, index: usize, of: &[char]) -> bool {
        self.go(index).is_none_or(|()| self.rest.clone().next().is_some_and(|c| of.contains(&c)))
    }

    /// The end of the text in quotes or after `|` or `>` that is the value of a key or item, where it is one;
    /// `index` is where the key or the last item has ended.
    pub(super) fn text_from(&mut self, index: usize, before: &Before) -> Option<usize> {
        self.go(index)?;
        let mut at = Cursor { rest: self.rest.clone(), index };
        let (parent, in_brackets) = match before {
            Before::Key { column, in_brackets } => {
                at.skip(' ');
                (at.next()? == ':').then_some(())?;
                (*column, *in_brackets)
            }
            Before::First { column } if at.stands_at_text() => {
                return at.text(column.checked_sub(2)?, false);
            }
            Before::First { column } | Before::Item { column } => {
                let mut column = *column;
                loop {
                    match at.next()? {
                        ' ' => column += 1,
                        '\n' | '\r' => column = 0,
                        '-' => break (column, false),
                        _ => return None,
                    }
                }
            }
        };
        (at.skip(' ') > 0).then_some(())?;
        at.text(parent, in_brackets)
    }
}

#[derive(Clone)]
struct Cursor<'a> {
    rest: Chars<'a>,
    index: usize,
}

impl Cursor<'_> {
    fn next(&mut self) -> Option<char> {
        self.index += 1;
        self.rest.next()
    }

    fn takes(&mut self, c: char) -> bool {
        let mut ahead = self.clone();
        let is = ahead.next() == Some(c);
        if is {
            *self = ahead;
        }
        is
    }

    fn skip(&mut self, c: char) -> usize {
        let mut count = 0;
        while self.takes(c) {
            count += 1;
        }
        count
    }

    fn stands_at_text(&self) -> bool {
        matches!(self.clone().next(), Some('"' | '\'' | '|' | '>'))
    }

    /// The end of the text that begins here.
    fn text(mut self, parent: usize, in_brackets: bool) -> Option<usize> {
        match self.next()? {
            '"' => loop {
                match self.next()? {
                    '"' => return Some(self.index),
                    '\\' => drop(self.next()),
                    _ => {}
                }
            },
            '\'' => loop {
                if self.next()? == '\'' && !self.takes('\'') {
                    return Some(self.index);
                }
            },
            '|' | '>' if !in_brackets => self.block(parent),
            _ => None,
        }
    }

    /// The end of a block whose header goes on here (yaml.org/spec/1.2.2, 8.1): what is indented as its
    /// first line is, which is more than what it belongs to.
    fn block(mut self, parent: usize) -> Option<usize> {
        let mut deeper = None;
        loop {
            match self.next()? {
                '+' | '-' => {}
                digit @ '1'..='9' => deeper = digit.to_digit(10),
                '\n' | '\r' => break,
                ' ' => {
                    self.skip(' ');
                    if self.takes('#') {
                        while !matches!(self.clone().next(), None | Some('\n' | '\r')) {
                            self.next();
                        }
                    }
                }
                _ => return None,
            }
        }
        let mut least = deeper.and_then(|deeper| parent.checked_add(usize::try_from(deeper).ok()?));
        let mut end = None;
        loop {
            let start = self.index;
            let indent = self.skip(' ');
            let mut ahead = self.clone();
            match ahead.next() {
                None => return Some(start),
                Some('\n' | '\r') => {
                    self = ahead;
                    continue;
                }
                Some(_) => {}
            }
            if indent <= parent || least.is_some_and(|least| indent < least) {
                return end;
            }
            least = least.or(Some(indent));
            loop {
                match self.next() {
                    None => return Some(self.index),
                    Some('\n' | '\r') => break,
                    Some(_) => {}
                }
            }
            end = Some(self.index);
        }
    }
}
