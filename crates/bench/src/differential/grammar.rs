//! Shapes of commands: a small notation in which a family's commands stand in one table.
//!
//! | in a shape | stands for |
//! |---|---|
//! | `WORD` | itself, with blanks for `␣` |
//! | `%k` `%v` `%n` ... | a word of the [`Vocabulary`] |
//! | `A\|B\|C` | one of them; `~` parts the words of one: `EX~%t\|KEEPTTL` |
//! | `[ ... ]` | what is inside, or nothing |
//! | `{ ... }` | what is inside, once to four times, rarely often |

use super::link::Words;
use super::vocabulary::Vocabulary;
use stdx::Random;

const REPEATED_OFTEN: u64 = 150;

/// The words of one command of a shape.
pub(super) fn expand(shape: &str, family: &str, vocabulary: &Vocabulary, random: &mut Random) -> Words {
    let tokens: Vec<&str> = shape.split_ascii_whitespace().collect();
    let mut words = Words::new();
    expand_tokens(&tokens, family, vocabulary, random, &mut words);
    words
}

fn expand_tokens(
    mut tokens: &[&str],
    family: &str,
    vocabulary: &Vocabulary,
    random: &mut Random,
    words: &mut Words,
) {
    while let Some((first, rest)) = tokens.split_first() {
        let times = match *first {
            "[" => random.below(2),
            "{" if random.chance(0.03) => random.below(REPEATED_OFTEN),
            "{" => 1 + random.below(4),
            token => {
                expand_choice(token, family, vocabulary, random, words);
                tokens = rest;
                continue;
            }
        };
        let end = closing(rest);
        for _ in 0..times {
            expand_tokens(&rest[..end], family, vocabulary, random, words);
        }
        tokens = &rest[end + 1..];
    }
}

/// Where the group that has just been opened ends.
fn closing(tokens: &[&str]) -> usize {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate() {
        match *token {
            "[" | "{" => depth += 1,
            "]" | "}" if depth == 0 => return index,
            "]" | "}" => depth -= 1,
            _ => {}
        }
    }
    panic!("shapes close their groups: {tokens:?}");
}

fn expand_choice(token: &str, family: &str, vocabulary: &Vocabulary, random: &mut Random, words: &mut Words) {
    let count = token.split('|').count() as u64;
    let chosen = token.split('|').nth(random.below(count) as usize).unwrap_or(token);
    words.extend(chosen.split('~').flat_map(|word| vocabulary.words(word, family, random)));
}

#[cfg(test)]
mod tests {
    use super::super::families::FAMILIES;
    use super::*;

    fn vocabulary() -> Vocabulary {
        Vocabulary { tag: b"{t}".to_vec(), families: vec!["x"], has_big_values: false }
    }

    fn text(shape: &str, seed: u64) -> String {
        let words = expand(shape, "x", &vocabulary(), &mut Random::seeded(seed));
        words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn groups_choices_and_pairs() {
        let shown: std::collections::BTreeSet<String> =
            (0..50).map(|seed| text("A [ B [ C ] D ] E~F|G", seed)).collect();
        let expected =
            ["A B C D E F", "A B C D G", "A B D E F", "A B D G", "A E F", "A G"].map(str::to_owned).into();
        assert_eq!(shown, expected);
        assert!((0..50).all(|seed| text("A { B } C", seed).starts_with("A ")));
    }

    #[test]
    fn every_shape_expands_and_knows_its_placeholders() {
        for family in FAMILIES {
            for shape in family.shapes {
                for seed in 0..20 {
                    let words = expand(shape, "x", &vocabulary(), &mut Random::seeded(seed));
                    let unknown = words.iter().find(|word| word.len() == 2 && word[0] == b'%');
                    assert!(!words.is_empty() && unknown.is_none(), "{shape}: {unknown:?}");
                }
            }
        }
    }
}
