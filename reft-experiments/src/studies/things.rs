//! Questions about things, for the studies of style and composition: `What is a sparrow?`

/// A thing and its kind. The first are for training, the rest are held out.
pub const THINGS: [(&str, &str); 64] = [
    ("sparrow", "bird"),
    ("hammer", "tool"),
    ("violin", "instrument"),
    ("carrot", "vegetable"),
    ("salmon", "fish"),
    ("tulip", "flower"),
    ("beetle", "insect"),
    ("sofa", "piece of furniture"),
    ("bicycle", "vehicle"),
    ("scarf", "piece of clothing"),
    ("birch", "tree"),
    ("ruby", "gem"),
    ("pear", "fruit"),
    ("kettle", "kitchen tool"),
    ("viper", "snake"),
    ("chess set", "game"),
    ("canoe", "boat"),
    ("novel", "book"),
    ("cheetah", "cat"),
    ("poodle", "dog"),
    ("waltz", "dance"),
    ("cottage", "house"),
    ("drizzle", "kind of rain"),
    ("saddle", "seat"),
    ("robin", "bird"),
    ("chisel", "tool"),
    ("cello", "instrument"),
    ("turnip", "vegetable"),
    ("trout", "fish"),
    ("daisy", "flower"),
    ("wasp", "insect"),
    ("desk", "piece of furniture"),
    ("truck", "vehicle"),
    ("glove", "piece of clothing"),
    ("maple", "tree"),
    ("emerald", "gem"),
    ("plum", "fruit"),
    ("ladle", "kitchen tool"),
    ("cobra", "snake"),
    ("domino set", "game"),
    ("ferry", "boat"),
    ("diary", "book"),
    ("lion", "cat"),
    ("beagle", "dog"),
    ("tango", "dance"),
    ("cabin", "house"),
    ("falcon", "bird"),
    ("wrench", "tool"),
    ("trumpet", "instrument"),
    ("leek", "vegetable"),
    ("tuna", "fish"),
    ("rose", "flower"),
    ("cricket", "insect"),
    ("wardrobe", "piece of furniture"),
    ("tram", "vehicle"),
    ("jacket", "piece of clothing"),
    ("willow", "tree"),
    ("pearl", "gem"),
    ("peach", "fruit"),
    ("whisk", "kitchen tool"),
    ("python", "snake"),
    ("raft", "boat"),
    ("tiger", "cat"),
    ("pigeon", "bird"),
];

/// Things to learn from; the other 40 are held out.
pub const TRAINING: usize = 24;

/// The prompt about a thing.
pub fn prompt(thing: &str) -> String {
    format!("Question: What is a {thing}?\nAnswer:")
}

/// A plain answer.
pub fn answer(thing: &str, kind: &str) -> String {
    format!("a {thing} is a {kind}.")
}
