//! Turns the letters of a line from the order of the eye, from left to right, into reading order.

use unicode_bidi::{BidiClass, bidi_class};

/// What a cluster is for the direction of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Class {
    Right,
    Left,
    Number,
    /// Joins numbers: `9:30`, `1,200`.
    Joint,
    Neutral,
}

fn class(cluster: &str) -> Class {
    let class = cluster.chars().map(bidi_class);
    for class in class {
        return match class {
            BidiClass::R | BidiClass::AL => Class::Right,
            BidiClass::L => Class::Left,
            BidiClass::EN | BidiClass::AN => Class::Number,
            BidiClass::CS | BidiClass::ES | BidiClass::ET => Class::Joint,
            BidiClass::NSM => continue,
            _ => Class::Neutral,
        };
    }
    Class::Neutral
}

/// Returns whether most letters are of a script that is written from right to left.
pub(super) fn is_right_to_left(text: &str) -> bool {
    let count = |wanted: &[BidiClass]| {
        text.chars()
            .filter(|c| wanted.contains(&bidi_class(*c)))
            .count()
    };
    let right = count(&[BidiClass::R, BidiClass::AL]);
    right > 0 && right >= count(&[BidiClass::L])
}

/// Joins the clusters of a line, which are in the order of the eye, in reading order.
pub(super) fn in_reading_order(clusters: &[String]) -> String {
    let classes: Vec<Class> = clusters.iter().map(|cluster| class(cluster)).collect();
    if !classes.contains(&Class::Right) {
        return clusters.concat();
    }
    let mut order: Vec<usize> = (0..clusters.len()).collect();
    let to_left = is_right_to_left(&clusters.concat());
    let turned = if to_left {
        order.reverse();
        turn_runs(&mut order, &classes, Class::Left)
    } else {
        turn_runs(&mut order, &classes, Class::Right)
    };
    // The places that are read to the left: only numbers and brackets are not turned there.
    let left: Vec<bool> = turned.iter().map(|turned| *turned != to_left).collect();
    turn_numbers(&mut order, &classes, &left);
    let places = order.into_iter().zip(left);
    places
        .map(|(at, left)| match classes[at] {
            Class::Neutral if left => mirrored(&clusters[at]),
            _ => &clusters[at],
        })
        .collect()
}

/// Reverses each run that begins and ends with letters of a class and has no letters of the other. Returns what was reversed.
fn turn_runs(order: &mut [usize], classes: &[Class], letters: Class) -> Vec<bool> {
    let other = match letters {
        Class::Left => Class::Right,
        _ => Class::Left,
    };
    let mut turned = vec![false; order.len()];
    let mut at = 0;
    while at < order.len() {
        if classes[order[at]] != letters {
            at += 1;
            continue;
        }
        let (mut first, mut last) = (at, at);
        while at < order.len() && classes[order[at]] != other {
            if classes[order[at]] == letters {
                last = at;
            }
            at += 1;
        }
        at = last + 1;
        if letters == Class::Left {
            first = with_number(&order[..first], classes).unwrap_or(first);
        }
        order[first..=last].reverse();
        turned[first..=last].fill(true);
    }
    turned
}

/// Returns where the number begins that follows a Latin word after a blank, as in `Room 12`.
fn with_number(before: &[usize], classes: &[Class]) -> Option<usize> {
    let (blank, rest) = before.split_last()?;
    let digits = rest.iter().rev();
    let digits = digits.take_while(|at| matches!(classes[**at], Class::Number | Class::Joint));
    let first = rest.len() - digits.count();
    let number = rest[first..].iter().any(|at| classes[*at] == Class::Number);
    (classes[*blank] == Class::Neutral && number).then_some(first)
}

/// Reverses the numbers at the marked places.
fn turn_numbers(order: &mut [usize], classes: &[Class], marked: &[bool]) {
    let number = |place: usize, order: &[usize]| {
        marked[place] && matches!(classes[order[place]], Class::Number | Class::Joint)
    };
    let mut at = 0;
    while at < order.len() {
        let first = at;
        while at < order.len() && number(at, order) {
            at += 1;
        }
        if order[first..at]
            .iter()
            .any(|at| classes[*at] == Class::Number)
        {
            order[first..at].reverse();
        }
        at = at.max(first + 1);
    }
}

/// Returns the character that is meant by a bracket in text that is read from right to left.
fn mirrored(cluster: &str) -> &str {
    match cluster {
        "(" => ")",
        ")" => "(",
        "[" => "]",
        "]" => "[",
        "{" => "}",
        "}" => "{",
        "<" => ">",
        ">" => "<",
        "«" => "»",
        "»" => "«",
        cluster => cluster,
    }
}
