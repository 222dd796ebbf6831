//! The words of AppArmor policy: what is a block, a rule's end, a comment, and what only looks so.

use super::super::Source;

/// A word or a mark, and the line it is on.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) line: u32,
}

/// Words, the braces around blocks, and the commas after rules. Braces, commas and white space are
/// part of a word inside of quotes and parentheses, and braces and the commas between them inside of
/// a pattern: `/usr/bin/pasta{,.avx2}`.
pub(super) fn tokens(source: &Source) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (line, text) in source.lines() {
        let mut chars = text.chars().peekable();
        let mut word = String::new();
        let (mut parens, mut braces, mut quoted) = (0u32, 0u32, false);
        let push = |word: &mut String, tokens: &mut Vec<Token>| {
            if !word.is_empty() {
                tokens.push(Token { text: std::mem::take(word), line });
            }
        };
        while let Some(c) = chars.next() {
            let outside = !quoted && parens == 0;
            match c {
                '"' => quoted = !quoted,
                '\\' => {
                    word.push(c);
                    word.extend(chars.next());
                }
                '#' if outside && word.is_empty() => {
                    let comment: String = chars.by_ref().collect();
                    if let Some(rest) = comment.strip_prefix("include") {
                        tokens.push(Token { text: "include".to_owned(), line });
                        tokens.extend(rest.split_whitespace().map(|w| Token { text: w.to_owned(), line }));
                    }
                }
                c if c.is_whitespace() && outside => {
                    push(&mut word, &mut tokens);
                    braces = 0;
                }
                '{' | '}' if outside && word.is_empty() => {
                    tokens.push(Token { text: c.to_string(), line });
                }
                // "flags=(unconfined){"
                '{' if outside && word.ends_with(')') => {
                    push(&mut word, &mut tokens);
                    tokens.push(Token { text: "{".to_owned(), line });
                }
                ',' if outside && braces == 0 => {
                    push(&mut word, &mut tokens);
                    tokens.push(Token { text: ",".to_owned(), line });
                }
                c => {
                    if !quoted {
                        parens =
                            if c == '(' { parens + 1 } else { parens.saturating_sub(u32::from(c == ')')) };
                        braces =
                            if c == '{' { braces + 1 } else { braces.saturating_sub(u32::from(c == '}')) };
                    }
                    word.push(c);
                }
            }
        }
        push(&mut word, &mut tokens);
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_and_commas_of_patterns_are_no_marks() {
        for (text, words) in [
            ("profile a /b{,.c} {", &["profile", "a", "/b{,.c}", "{"][..]),
            ("/x flags=(a, b){", &["/x", "flags=(a, b)", "{"]),
            ("{ userns, } # end }", &["{", "userns", ",", "}"]),
            ("\"a b, {\" rw,", &["a b, {", "rw", ","]),
            ("#include <a b>", &["include", "<a", "b>"]),
            ("/a\\,b r,", &["/a\\,b", "r", ","]),
            ("mount options=(rw, bind) -> /,", &["mount", "options=(rw, bind)", "->", "/", ","]),
        ] {
            let tokens = tokens(&Source::new("/x", text));
            assert_eq!(tokens.iter().map(|t| t.text.as_str()).collect::<Vec<_>>(), words, "{text}");
        }
    }
}
