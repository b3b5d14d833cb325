//! The difference of two short texts, line by line.

/// Lines of context around a change.
const CONTEXT_LINES: usize = 3;
/// The longest stretch that is compared line by line, in lines of either text. A larger one is shown as all gone and all new.
const COMPARED_LINES_MAX: usize = 4_000;

/// The lines that changed, marked `-` and `+`, with a few around them; empty when nothing did.
pub(crate) fn lines(before: &str, after: &str) -> Vec<String> {
    let (before, after): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    if before == after {
        return Vec::new();
    }
    with_context(&marked(&before, &after))
}

/// Every line of both texts with its mark, in order.
fn marked<'a>(before: &[&'a str], after: &[&'a str]) -> Vec<(char, &'a str)> {
    let head = before.iter().zip(after).take_while(|(a, b)| a == b).count();
    let (before_rest, after_rest) = (&before[head..], &after[head..]);
    let tail = before_rest.iter().rev().zip(after_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&before_rest[..before_rest.len() - tail], &after_rest[..after_rest.len() - tail]);
    let mut all: Vec<(char, &str)> = before[..head].iter().map(|line| (' ', *line)).collect();
    if a.len() > COMPARED_LINES_MAX || b.len() > COMPARED_LINES_MAX {
        all.extend(a.iter().map(|line| ('-', *line)).chain(b.iter().map(|line| ('+', *line))));
    } else {
        all.extend(compared(a, b));
    }
    all.extend(before[before.len() - tail..].iter().map(|line| (' ', *line)));
    all
}

/// By the longest common subsequence.
fn compared<'a>(a: &[&'a str], b: &[&'a str]) -> Vec<(char, &'a str)> {
    let width = b.len() + 1;
    // common[i * width + j]: the lines that a[i..] and b[j..] have in common. At most 4,000 a side, so u16 holds it.
    let mut common = vec![0_u16; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i * width + j] =
                if a[i] == b[j] { common[(i + 1) * width + j + 1] + 1 } else { common[(i + 1) * width + j].max(common[i * width + j + 1]) };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut all = Vec::with_capacity(a.len() + b.len());
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            all.push((' ', a[i]));
            i += 1;
            j += 1;
        } else if j == b.len() || (i < a.len() && common[(i + 1) * width + j] >= common[i * width + j + 1]) {
            all.push(('-', a[i]));
            i += 1;
        } else {
            all.push(('+', b[j]));
            j += 1;
        }
    }
    all
}

fn with_context(all: &[(char, &str)]) -> Vec<String> {
    let changed = |index: usize| all.get(index).is_some_and(|(mark, _)| *mark != ' ');
    let near = |index: usize| (index.saturating_sub(CONTEXT_LINES)..=index + CONTEXT_LINES).any(changed);
    let mut shown = Vec::new();
    let mut skipping = false;
    for (index, (mark, line)) in all.iter().enumerate() {
        if near(index) {
            if skipping && !shown.is_empty() {
                shown.push("...".to_owned());
            }
            skipping = false;
            shown.push(format!("{mark} {line}").trim_end().to_owned());
        } else {
            skipping = true;
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_nothing() {
        assert_eq!(lines("a\nb\n", "a\nb\n"), Vec::<String>::new());
    }

    #[test]
    fn a_change_stands_between_its_neighbours() {
        assert_eq!(lines("a\nb\nc\n", "a\nx\nc\nd\n"), ["  a", "- b", "+ x", "  c", "+ d"]);
    }

    #[test]
    fn far_lines_are_left_out() {
        let before: String = (0..40).map(|n| format!("{n}\n")).collect();
        let after = before.replace("\n5\n", "\nfive\n").replace("\n30\n", "\n");
        let shown = lines(&before, &after);
        assert_eq!(shown.len(), 3 + 2 + 3 + 1 + 3 + 1 + 3);
        assert_eq!(shown[8], "...");
    }

    #[test]
    fn from_nothing_and_to_nothing() {
        assert_eq!(lines("", "a\n"), ["+ a"]);
        assert_eq!(lines("a\n", ""), ["- a"]);
    }
}
