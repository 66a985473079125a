//! Recognises typos.

/// The most letters of a word. To compare longer ones takes time and memory that grow with the square of their length.
const LONGEST: usize = 64;

/// Returns whether two stems differ by one typo (a letter added, missing, changed or swapped), or by two in a long word.
pub(super) fn is_typo(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let shorter = a.len().min(b.len());
    let allowed = match shorter {
        0..=3 => return false,
        4..=7 => 1,
        8..=LONGEST => 2,
        // Such as an address or a key.
        _ => return false,
    };
    // Short words that start with different letters are usually different words, not typos.
    if a[0] != b[0] || a.len().abs_diff(b.len()) > allowed {
        return false;
    }
    // Of four letters, one changed gives another word ("cash", "case"); one swapped or doubled is a typo.
    if shorter == 4 && a.len() == b.len() && sorted(a.clone()) != sorted(b.clone()) {
        return false;
    }
    distance(&a, &b) <= allowed
}

fn sorted(mut letters: Vec<char>) -> Vec<char> {
    letters.sort_unstable();
    letters
}

/// Returns the edit distance, with a swap of neighbours counted as one.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = change.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typos() {
        let check = |a: &str, b: &str, typo| assert_eq!(is_typo(a, b), typo, "{a} {b}");
        check("warranti", "waranti", true);
        check("deliveri", "delivrey", true);
        check("paymnet", "payment", true);
        check("cash", "case", false);
        check("pet", "pen", false);
        check("train", "brain", false);
        let long = "a".repeat(LONGEST);
        check(&long, &format!("{long}b"), true);
        check(&format!("{long}b"), &format!("{long}c"), false);
    }
}
