//! Makes words comparable: stems, stop words, and synonyms used by small businesses' customers.

use std::{collections::HashMap, sync::LazyLock};

use rust_stemmers::{Algorithm, Stemmer};

/// Words without a meaning for the search.
const STOP: &str = "a about actually after again all also am an and any anybody anyone anything are as at be because been before being \
    both but by can cannot cant could couldnt did didnt do does doesnt doing done dont down each either else ever every few for from further \
    get gets getting give go goes going got guys had hadnt has hasnt have havent having he hello hey hi her here hers him his how i id if ill im in into is \
    isnt it its itself ive just kindly know let lets like ll looking may maybe me might mine more most much must my myself need needs no nor not now of off on once one only or \
    other our ours out over own please question re same say see shall she should so some somebody someone something sort still such sure tell than thank thanks that \
    thats the their theirs them then there theres these they theyre thing things this those through till to too trying under until up us use using ve very \
    want wanted was wasnt way we well were weve what whats when where which while who whos whom why will with within without wont wonder wondering would wouldnt \
    yes yet you youre your yours yall ok okay quick quickly hope currently exactly generally usually normally ask asking answer help";

/// Words with little meaning: they count, but a passage need not contain them.
const LIGHT: &str = "able accept afternoon allow already around available away back best better big bring buy carry case change come customer day different do \
    easy end evening expect far fast feel find first good great happen happy hard idea immediate keep kind last late leave little long longer look lot lots make many mean \
    morning mr near new next nice night number object offer old old option order people person place plan policy possible problem provide put quite ready really recent rid right run sell shop show \
    small soon specific start stock stop stuff supply take team thing think time today tomorrow tonight try turn type usual visit wait week weekend whole work world worth wrong year yesterday arrange stand kind say spot \
    business store place guy item product bought owner straight entire exact whenever anytime method several ride home house door happen bring send job typical normal everyday information info detail somewhere elsewhere else city town local area within spare goods";

/// Synonyms in questions to a small business. A word may be in several rows; words joined by `_` are a phrase of the question.
const SYNONYMS: &[&str] = &[
    "open opening hours close closed closing shut time_open what_time when_open sunday saturday monday tuesday wednesday thursday friday weekend weekday holiday late early lunch lunchtime come_by come_in pass_by visit_you when business_hours",
    "price cost costs charge charges fee fees how_much expensive cheap rate rates paid_embedder tariff afford set_me_back quote estimate",
    "repair repairs fix fixed fixing mend service servicing maintenance broken tuneup tune_up overhaul adjust workshop mechanic puncture patch damaged",
    "return returns refund refunded refunds money_back send_back take_back bring_back give_back exchange swap unhappy changed_my_mind change_my_mind doesnt_fit unwanted return_policy goods_back get_my_money my_money",
    "deliver delivery delivered delivers ship shipped shipping ships shipment courier post mail dispatch to_my_door home_delivery to_my_house to_my_home to_me my_house my_home my_door my_place my_flat",
    "pay payment payments card cards cash credit debit visa mastercard amex contactless apple_pay google_pay paypal cheque check",
    "instalment instalments installment installments finance financing monthly spread_the_cost pay_later pay_over credit loan several_months several_payments over_12_months over_24_months over_time",
    "kid kids child children son daughter boy girl toddler junior baby youngster teenager little_one",
    "rent rental rentals hire borrow lend loan_bike lease",
    "buy purchase order sell stock",
    "phone call telephone ring contact email reach get_in_touch speak talk message whatsapp",
    "location located address where where_are where_is where_can_i_find find_you find_your directions street get_there get_here get_to_you get_to_your way_to_you way_to_your based situated map",
    "appointment book booking reserve reservation slot walk_in schedule drop_in in_advance",
    "warranty guarantee guaranteed warranties covered cover defect defective fault faulty crack cracks snaps snapped break breaks",
    "test_ride try_out trial test_drive try_before take_for_a_spin try try_one demo spin before_buying before_i_buy",
    "park parking car_park car cars vehicle garage",
    "electric ebike ebikes battery motor pedal_assist pedelec",
    "secondhand second_hand used preowned pre_owned refurbished trade_in part_exchange old_bike",
    "cancel cancellation call_off reschedule cancelling move_my",
    "brand brands make makes manufacturer any_brand any_make",
    "brake brakes gear gears wheel wheels bracket brackets chain chains",
    "size sizing fit fitting height tall measure measured frame",
    "insurance insured insure theft stolen",
    "gift voucher vouchers present gift_card giftcard",
    "discount discounts deal sale promotion student coupon reduction cheaper",
    "tire tyre tires tyres flat puncture inner_tube wheel",
    "helmet helmets accessory accessories lock locks lights gear",
    "class classes lesson lessons course workshop teach learn training",
    "ride rides tour tours group_ride club",
    "how_long how_many_days how_many_weeks how_soon how_fast how_quickly duration turnaround days weeks ready wait long",
    "job jobs hiring vacancy vacancies recruit recruiting career apprentice apprenticeship staff",
    "pet pets dog dogs animal",
    "wheelchair disabled accessible accessibility step_free ramp",
    "bike bikes bicycle bicycles cycle cycles",
    "pickup pick_up collect collection collected collecting click_and_collect",
    "wash clean cleaning washed",
    "assemble assembled assembly build built put_together",
    "bus train tram metro station public_transport",
    "free complimentary no_charge gratis",
    "allergy allergen allergies allergic gluten vegan vegetarian",
    "invoice receipt bill",
    "damage damaged broken cracked scratched",
    "track tracking parcel package",
    "abroad overseas international country europe",
    "deposit down_payment upfront up_front",
    "age old oldest youngest",
    "minimum least",
    "privacy data personal_data gdpr",
    "wifi internet",
    "toilet restroom bathroom",
];

/// Units of time: they weigh less than the topic of a question, and more than everyday words.
const TIME_UNITS: &[&str] = &["minut", "hour", "day", "week", "month", "year"];

/// The rows of [`SYNONYMS`] that contain a stem or phrase.
static GROUPS: LazyLock<HashMap<String, Vec<usize>>> = LazyLock::new(|| {
    let mut groups: HashMap<String, Vec<usize>> = HashMap::new();
    for (row, words) in SYNONYMS.iter().enumerate() {
        for word in words.split_whitespace() {
            let key = if word.contains('_') {
                word.to_owned()
            } else {
                stem(word)
            };
            let rows = groups.entry(key).or_default();
            if rows.last() != Some(&row) {
                rows.push(row);
            }
        }
    }
    groups
});

static STOP_WORDS: LazyLock<Vec<&str>> =
    LazyLock::new(|| sorted(STOP.split_whitespace().collect()));
static LIGHT_STEMS: LazyLock<Vec<String>> =
    LazyLock::new(|| sorted(LIGHT.split_whitespace().map(stem).collect()));
/// The longest phrase of [`SYNONYMS`], in words.
const LONGEST: usize = 5;

fn sorted<T: Ord>(mut words: Vec<T>) -> Vec<T> {
    words.sort_unstable();
    words
}

fn stem(word: &str) -> String {
    // "Hiring" is about jobs, "hire" about renting a bike; the stemmer cannot tell them apart.
    if word == "hiring" {
        return word.into();
    }
    Stemmer::create(Algorithm::English).stem(word).into_owned()
}

/// A significant word of a text in comparable form.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Term {
    /// Its stem, or the phrase.
    pub(super) stem: String,
    /// The rows of synonyms that contain it.
    pub(super) groups: Vec<usize>,
    /// Its share of the question, from 0 to 1.
    pub(super) weight: f32,
}

/// The weight of an everyday word.
const LIGHT_WEIGHT: f32 = 0.3;

/// Splits a text into lower-case words. Apostrophes are removed; `e-bike` is one word.
fn tokens(text: &str) -> Vec<String> {
    let plain = text.to_lowercase().replace(['\'', '’'], "");
    let words = plain.split(|c: char| !c.is_alphanumeric());
    let mut words: Vec<String> = words
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    for at in (1..words.len()).rev() {
        if words[at - 1] == "e" && words[at].starts_with("bike") {
            let bike = words.remove(at);
            words[at - 1].push_str(&bike);
        }
    }
    // "Send it back", "bring the wheel back": one verb, whatever is in between.
    for at in 0..words.len() {
        let verb = matches!(words[at].as_str(), "send" | "bring" | "take" | "give");
        let back = words
            .iter()
            .skip(at + 2)
            .take(3)
            .position(|word| word == "back");
        if let (true, Some(between)) = (verb, back) {
            words.remove(at + 2 + between);
            words.insert(at + 1, "back".into());
        }
    }
    words
}

/// Returns the terms of a text without repetition, phrases included.
pub(super) fn terms(text: &str) -> Vec<Term> {
    let words = tokens(text);
    let mut taken = vec![false; words.len()];
    let mut terms: Vec<Term> = Vec::new();
    for length in (2..=LONGEST.min(words.len())).rev() {
        for at in 0..=words.len() - length {
            let phrase = words[at..at + length].join("_");
            let singular = phrase.strip_suffix('s').unwrap_or(&phrase).to_owned();
            let phrase = if GROUPS.contains_key(&phrase) {
                phrase
            } else {
                singular
            };
            if !taken[at..at + length].contains(&true) && GROUPS.contains_key(&phrase) {
                taken[at..at + length].fill(true);
                terms.push(term(phrase, 0.8));
            }
        }
    }
    for (word, taken) in words.iter().zip(taken) {
        if taken || STOP_WORDS.binary_search(&word.as_str()).is_ok() || word.len() < 2 {
            continue;
        }
        let stem = stem(word);
        if !terms.iter().any(|term| term.stem == stem) {
            let weight = if TIME_UNITS.contains(&stem.as_str()) {
                0.4
            } else if LIGHT_STEMS.binary_search(&stem).is_ok()
                || stem.bytes().all(|b| b.is_ascii_digit())
            {
                LIGHT_WEIGHT
            } else if GROUPS.contains_key(&stem) {
                1.0
            } else {
                // A word that is specific to this business is the topic of the question.
                1.25
            };
            terms.push(term(stem, weight));
        }
    }
    terms
}

/// Returns the terms of a question. "When" and "where" weigh a little, as the hours and the place; in a passage they mean
/// nothing.
pub(super) fn asked(question: &str) -> Vec<Term> {
    let mut terms = terms(question);
    for word in tokens(question) {
        if matches!(word.as_str(), "when" | "where") {
            terms.push(term(word, 0.4));
        }
    }
    terms
}

fn term(stem: String, weight: f32) -> Term {
    let groups = GROUPS.get(&stem).cloned().unwrap_or_default();
    Term {
        stem,
        groups,
        weight,
    }
}

/// Returns a question's words and their synonyms: the words for a plain full-text search, so that "when do you shut?" finds
/// "Opening hours".
///
/// ```
/// let words = konstruct_llm::extract::expand("When do you shut?");
/// assert_eq!(words[0], "shut");
/// assert!(words.iter().any(|word| word == "hours"));
/// ```
pub fn expand(question: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut add = |word: &str| {
        for word in word.split('_') {
            if !words.iter().any(|known| known == word) {
                words.push(word.to_owned());
            }
        }
    };
    let terms = asked(question);
    for word in tokens(question) {
        if STOP_WORDS.binary_search(&word.as_str()).is_err() {
            add(&word);
        }
    }
    let slips = terms
        .iter()
        .filter(|term| term.groups.is_empty())
        .flat_map(|term| {
            let meant = GROUPS
                .iter()
                .filter(|(known, _)| is_slip(&term.stem, known));
            meant.flat_map(|(_, rows)| rows)
        });
    let mut rows: Vec<&usize> = terms
        .iter()
        .flat_map(|term| &term.groups)
        .chain(slips)
        .collect();
    rows.sort_unstable();
    rows.dedup();
    for row in rows {
        SYNONYMS[*row]
            .split_whitespace()
            .filter(|word| !word.contains('_'))
            .for_each(&mut add);
    }
    words
}

/// Returns the similarity of two terms, from 0 to 1: the same stem, a synonym, or a typo. An everyday word hardly counts as a
/// synonym: an `offer` need not be a discount.
pub(super) fn likeness(a: &Term, b: &Term) -> f32 {
    if a.stem == b.stem {
        1.0
    } else if a.groups.iter().any(|group| b.groups.contains(group)) {
        if (a.weight <= LIGHT_WEIGHT) == (b.weight <= LIGHT_WEIGHT) {
            0.85
        } else {
            0.35
        }
    } else if is_slip(&a.stem, &b.stem) {
        0.8
    } else {
        0.0
    }
}

/// Returns whether two stems differ by one typo (a letter added, missing, changed or swapped), or by two in a long word.
fn is_slip(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let shorter = a.len().min(b.len());
    let allowed = match shorter {
        0..=3 => return false,
        4..=7 => 1,
        _ => 2,
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
    fn slips() {
        let check = |a, b, slip| assert_eq!(is_slip(a, b), slip, "{a} {b}");
        check("warranti", "waranti", true);
        check("deliveri", "delivrey", true);
        check("paymnet", "payment", true);
        check("cash", "case", false);
        check("pet", "pen", false);
        check("train", "brain", false);
    }
}
