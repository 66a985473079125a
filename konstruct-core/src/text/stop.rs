//! Stop words, including the small talk around a question. They are stored without accents, sorted.

use crate::memory::Language;

/// Returns whether a word without accents is a stop word.
pub(super) fn is_stop_word(language: Language, word: &str) -> bool {
    list(language).binary_search(&word).is_ok()
}

fn list(language: Language) -> &'static [&'static str] {
    match language {
        Language::German => GERMAN,
        Language::Spanish => SPANISH,
        Language::French => FRENCH,
        Language::Italian => ITALIAN,
        Language::Portuguese => PORTUGUESE,
        Language::Dutch => DUTCH,
        // An unsupported language is analysed as English.
        _ => ENGLISH,
    }
}

#[rustfmt::skip]
const ENGLISH: &[&str] = &[
    "a", "about", "after", "again", "all", "also", "am", "an", "and", "any", "anyone", "are", "arent", "as", "at", "be",
    "because", "been", "before", "being", "both", "but", "by", "can", "cannot", "cant", "could", "couldnt", "did", "didnt",
    "do", "does", "doesnt", "doing", "dont", "each", "either", "else", "etc", "ever", "every", "few", "for", "from",
    "further", "get", "gets", "getting", "give", "go", "goes", "going", "good", "got", "had", "has", "hasnt", "have",
    "havent", "having", "he", "hello", "help", "her", "here", "hers", "hey", "hi", "him", "his", "how", "i", "id", "if",
    "ill", "im", "in", "into", "is", "isnt", "it", "its", "ive", "just", "kindly", "know", "let", "lets", "like", "ll",
    "look", "looking", "maybe", "me", "might", "mine", "more", "most", "much", "my", "need", "no", "nor", "not", "now",
    "of", "off", "ok", "okay", "on", "once", "one", "only", "or", "other", "our", "ours", "out", "over", "own", "please",
    "pls", "question", "quick", "re", "really", "regarding", "s", "same", "say", "shall", "she", "should", "so", "some",
    "someone", "something", "still", "such", "t", "tell", "than", "thank", "thanks", "that", "thats", "the", "their",
    "theirs", "them", "then", "there", "theres", "these", "they", "thing", "things", "this", "those", "through", "to",
    "too", "u", "under", "until", "up", "us", "use", "ve", "very", "want", "wanted", "wants", "was", "wasnt", "we", "well",
    "were", "what", "whats", "when", "whens", "where", "wheres", "which", "while", "who", "whom", "whose", "why", "will",
    "with", "without", "wont", "would", "wouldnt", "yes", "yet", "you", "youd", "youll", "your", "youre", "yours", "youve",
];

#[rustfmt::skip]
const GERMAN: &[&str] = &[
    "aber", "alle", "alles", "als", "also", "am", "an", "ans", "auch", "auf", "aus", "bei", "beim", "bin", "bis", "bist",
    "bitte", "da", "dabei", "damit", "danke", "dann", "daran", "darauf", "darf", "das", "dass", "davon", "dazu", "dein",
    "deine", "deinen", "deiner", "dem", "den", "denen", "denn", "der", "deren", "des", "dessen", "die", "dies", "diese",
    "diesem", "diesen", "dieser", "dieses", "dir", "doch", "du", "durch", "durfen", "eben", "ein", "eine", "einem", "einen",
    "einer", "eines", "er", "es", "etwas", "euch", "euer", "eure", "eurem", "euren", "eurer", "fur", "ganz", "gar", "gegen",
    "gern", "gerne", "gewesen", "geworden", "gibt", "gruezi", "guten", "habe", "haben", "habt", "hallo", "halt", "hast",
    "hat", "hatte", "hatten", "hey", "hi", "hier", "ich", "ihm", "ihn", "ihnen", "ihr", "ihre", "ihrem", "ihren", "ihrer",
    "im", "immer", "in", "ins", "ist", "ja", "jede", "jeden", "jeder", "jedes", "jetzt", "kann", "kannst", "kein", "keine",
    "konnen", "konnt", "konnte", "konnten", "mag", "mal", "man", "mehr", "mein", "meine", "meinem", "meinen", "meiner",
    "mich", "mir", "mit", "mochte", "moin", "morgens", "muss", "mussen", "nach", "nein", "nicht", "noch", "nun", "nur",
    "ob", "oder", "ohne", "schon", "sehr", "seid", "sein", "seine", "seinem", "seinen", "seiner", "servus", "sich", "sie",
    "sind", "so", "solche", "soll", "sollen", "sondern", "sonst", "tag", "uber", "um", "und", "uns", "unser", "unsere",
    "unseren", "unserer", "unter", "viel", "vom", "von", "vor", "wahrend", "wann", "war", "ware", "waren", "warum", "was",
    "weil", "weiter", "welche", "welchen", "welcher", "welches", "wenn", "wer", "werden", "wie", "wieder", "will", "wir",
    "wird", "wo", "woher", "wohin", "wollen", "wurde", "wurden", "zu", "zum", "zur", "zwischen",
];

#[rustfmt::skip]
const SPANISH: &[&str] = &[
    "a", "al", "algo", "algun", "alguna", "algunas", "alguno", "algunos", "alli", "ante", "antes", "aquel", "aquella",
    "aquellas", "aquello", "aquellos", "aqui", "aun", "aunque", "buenas", "bueno", "buenos", "cada", "casi", "como", "con",
    "contra", "cosa", "cosas", "cual", "cuales", "cuando", "cuanta", "cuantas", "cuanto", "cuantos", "de", "del", "desde",
    "dias", "donde", "dos", "durante", "e", "el", "ella", "ellas", "ellos", "en", "entonces", "entre", "era", "eran",
    "eres", "es", "esa", "esas", "ese", "eso", "esos", "esta", "estaba", "estamos", "estan", "estar", "estas", "este",
    "esto", "estos", "estoy", "favor", "fue", "fueron", "gracias", "ha", "haber", "habia", "habian", "hace", "hacer",
    "haces", "hago", "han", "hasta", "hay", "he", "hemos", "hola", "la", "las", "le", "les", "lo", "los", "mas", "me", "mi",
    "mia", "mio", "mis", "misma", "mismo", "mucha", "muchas", "mucho", "muchos", "muy", "nada", "ni", "no", "nos",
    "nosotros", "nuestra", "nuestras", "nuestro", "nuestros", "o", "os", "otra", "otras", "otro", "otros", "para", "pero",
    "poco", "podria", "podrian", "por", "porque", "puede", "pueden", "puedo", "pues", "que", "quien", "quienes", "quiero",
    "quisiera", "saber", "se", "ser", "seria", "si", "sido", "siempre", "sin", "sobre", "solo", "somos", "son", "soy", "su",
    "sus", "suya", "suyo", "tambien", "tan", "tanto", "te", "teneis", "tenemos", "tengo", "ti", "tiene", "tienen", "toda",
    "todas", "todo", "todos", "tu", "tus", "tuya", "tuyo", "u", "un", "una", "unas", "uno", "unos", "usted", "ustedes",
    "va", "vamos", "van", "vosotros", "voy", "y", "ya", "yo",
];

#[rustfmt::skip]
const FRENCH: &[&str] = &[
    "a", "ai", "aie", "ainsi", "alors", "apres", "as", "au", "aucun", "aucune", "aujourd", "aussi", "autre", "autres",
    "aux", "avant", "avec", "avez", "avoir", "avons", "bien", "bon", "bonjour", "bonsoir", "c", "ca", "car", "ce", "ceci",
    "cela", "celle", "celles", "celui", "ces", "cet", "cette", "ceux", "chaque", "chez", "ci", "comme", "comment", "d",
    "dans", "de", "deja", "depuis", "des", "donc", "dont", "du", "elle", "elles", "en", "encore", "entre", "es", "est",
    "et", "etaient", "etait", "etes", "etre", "eu", "eux", "faire", "fait", "faites", "fut", "grace", "hui", "ici", "il",
    "ils", "j", "je", "jusqu", "l", "la", "le", "les", "leur", "leurs", "lors", "lorsqu", "lui", "m", "ma", "mais", "me",
    "meme", "memes", "merci", "mes", "moi", "moins", "mon", "n", "ne", "ni", "non", "nos", "notre", "nous", "on", "ont",
    "ou", "par", "parce", "pas", "peu", "peut", "peuvent", "peux", "plait", "plus", "plusieurs", "pour", "pourquoi",
    "pourrais", "pourriez", "puis", "puisqu", "qu", "quand", "que", "quel", "quelle", "quelles", "quels", "qui", "quoi",
    "s", "sa", "sans", "savoir", "se", "sera", "serait", "ses", "si", "sommes", "son", "sont", "sous", "suis", "sur", "svp",
    "t", "ta", "tant", "te", "tes", "toi", "ton", "tous", "tout", "toute", "toutes", "tres", "trop", "tu", "un", "une",
    "va", "vais", "vers", "veut", "veux", "voici", "voila", "vont", "vos", "votre", "voudrais", "vous", "vu", "y",
];

#[rustfmt::skip]
const ITALIAN: &[&str] = &[
    "a", "abbiamo", "ad", "agli", "ai", "al", "alcune", "alcuni", "all", "alla", "alle", "allo", "altra", "altre", "altri",
    "altro", "anche", "ancora", "avere", "avete", "aveva", "ben", "buona", "buonasera", "buongiorno", "c", "che", "chi",
    "ci", "ciao", "cio", "coi", "col", "come", "con", "contro", "cosa", "cose", "cosi", "cui", "d", "da", "dagli", "dai",
    "dal", "dall", "dalla", "dalle", "dallo", "degli", "dei", "del", "dell", "della", "delle", "dello", "dentro", "di",
    "dice", "dopo", "dove", "due", "e", "ed", "era", "erano", "essere", "fa", "faccio", "fare", "favore", "fin", "fino",
    "fra", "fu", "fuori", "gli", "grazie", "ha", "hai", "hanno", "ho", "i", "il", "in", "io", "l", "la", "le", "lei", "li",
    "lo", "loro", "lui", "ma", "me", "mentre", "mi", "mia", "mie", "miei", "mio", "molta", "molte", "molti", "molto", "ne",
    "negli", "nei", "nel", "nell", "nella", "nelle", "nello", "nessun", "nessuna", "no", "noi", "non", "nostra", "nostre",
    "nostri", "nostro", "o", "od", "ogni", "oppure", "ora", "per", "perche", "pero", "piu", "po", "poi", "possiamo",
    "posso", "potete", "potrei", "prima", "proprio", "puo", "qual", "qualche", "quale", "quali", "quando", "quanta",
    "quante", "quanti", "quanto", "quella", "quelle", "quelli", "quello", "quest", "questa", "queste", "questi", "questo",
    "qui", "quindi", "sapere", "se", "sei", "sempre", "senza", "si", "sia", "siamo", "siete", "so", "sono", "sopra", "sta",
    "stata", "state", "stati", "stato", "su", "sua", "sue", "sugli", "sui", "sul", "sull", "sulla", "sulle", "sullo", "suo",
    "suoi", "te", "ti", "tra", "tu", "tua", "tue", "tuo", "tuoi", "tutta", "tutte", "tutti", "tutto", "un", "una", "uno",
    "v", "va", "vi", "voglio", "voi", "vorrei", "vostra", "vostre", "vostri", "vostro",
];

#[rustfmt::skip]
const PORTUGUESE: &[&str] = &[
    "a", "ao", "aos", "aquela", "aquelas", "aquele", "aqueles", "aquilo", "as", "ate", "boa", "bom", "cada", "com", "como",
    "da", "das", "de", "dela", "delas", "dele", "deles", "depois", "desde", "dia", "do", "dois", "dos", "e", "ela", "elas",
    "ele", "eles", "em", "entre", "era", "eram", "es", "essa", "essas", "esse", "esses", "esta", "estamos", "estao",
    "estar", "estas", "estava", "este", "estes", "estou", "eu", "favor", "faz", "fazer", "foi", "for", "foram", "fosse",
    "fui", "gostaria", "ha", "isso", "isto", "ja", "la", "lhe", "lhes", "mais", "mas", "me", "mesma", "mesmo", "meu",
    "meus", "minha", "minhas", "muita", "muitas", "muito", "muitos", "na", "nada", "nao", "nas", "nem", "no", "nos",
    "nossa", "nossas", "nosso", "nossos", "num", "numa", "o", "obrigada", "obrigado", "oi", "ola", "onde", "ou", "outra",
    "outras", "outro", "outros", "para", "pela", "pelas", "pelo", "pelos", "pode", "podem", "poderia", "por", "porque",
    "posso", "pouco", "pra", "quais", "qual", "qualquer", "quando", "quanta", "quanto", "quantos", "que", "quem", "quero",
    "saber", "sao", "se", "sem", "sempre", "ser", "sera", "seria", "seu", "seus", "si", "sido", "sim", "so", "sobre",
    "somos", "sou", "sua", "suas", "tambem", "tao", "te", "tem", "temos", "tenho", "ter", "teu", "teus", "teve", "ti",
    "tinha", "toda", "todas", "todo", "todos", "tu", "tua", "tuas", "tudo", "um", "uma", "umas", "uns", "vai", "vao",
    "voce", "voces", "vos", "vou",
];

#[rustfmt::skip]
const DUTCH: &[&str] = &[
    "aan", "al", "alle", "alleen", "alles", "als", "altijd", "andere", "anders", "ben", "bent", "bij", "daar", "dan",
    "dank", "dat", "de", "den", "der", "deze", "die", "dit", "doch", "doe", "doen", "doet", "dus", "een", "eens", "en",
    "er", "even", "geen", "goede", "goedemorgen", "graag", "haar", "had", "hadden", "hallo", "heb", "hebben", "hebt",
    "heeft", "heel", "hem", "het", "hier", "hij", "hoe", "hoi", "hun", "ie", "iemand", "iets", "ik", "in", "is", "ja", "je",
    "jij", "jou", "jouw", "jullie", "kan", "kun", "kunnen", "kunt", "maar", "mag", "me", "meer", "men", "met", "mij",
    "mijn", "moet", "moeten", "na", "naar", "niet", "niets", "nog", "nu", "of", "om", "omdat", "onder", "ons", "onze",
    "ook", "op", "over", "reeds", "sinds", "te", "tegen", "toch", "toen", "tot", "u", "uit", "uw", "van", "veel", "voor",
    "waar", "waarom", "wanneer", "want", "waren", "was", "wat", "we", "wel", "welk", "welke", "werd", "wie", "wij", "wil",
    "willen", "wilt", "worden", "wordt", "zal", "ze", "zeer", "zelf", "zich", "zij", "zijn", "zo", "zonder", "zou",
    "zouden",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_and_unaccented() {
        for language in Language::ALL {
            let list = list(language);
            assert!(list.is_sorted_by(|a, b| a < b), "{language:?}");
            assert!(list.iter().all(|word| word.is_ascii()), "{language:?}");
        }
    }
}
