//! Word lists of the embedded tasks: kinds of things, and things of that kind.

/// A kind with its article and members.
pub struct Kind {
    /// With its article: `a bird`.
    pub name: &'static str,
    /// Members, singular, without article.
    pub members: &'static [&'static str],
}

/// Kinds whose members belong to no other kind of the list.
pub const KINDS: [Kind; 12] = [
    Kind {
        name: "a bird",
        members: &[
            "sparrow", "eagle", "robin", "owl", "parrot", "crow", "pigeon", "swan", "penguin", "hawk", "seagull",
            "woodpecker", "flamingo", "ostrich", "falcon", "magpie", "stork", "canary", "pelican", "finch",
        ],
    },
    Kind {
        name: "a fruit",
        members: &[
            "banana", "apple", "pear", "mango", "cherry", "grape", "peach", "lemon", "plum", "melon", "strawberry",
            "pineapple", "apricot", "kiwi", "raspberry", "fig", "papaya", "blueberry", "coconut", "tangerine",
        ],
    },
    Kind {
        name: "a vegetable",
        members: &[
            "carrot", "cabbage", "potato", "onion", "spinach", "broccoli", "celery", "lettuce", "radish", "turnip",
            "cauliflower", "cucumber", "beetroot", "leek", "asparagus", "parsnip", "zucchini", "artichoke", "kale", "pea",
        ],
    },
    Kind {
        name: "a tool",
        members: &[
            "hammer", "screwdriver", "saw", "wrench", "drill", "shovel", "axe", "rake", "chisel", "pliers", "hoe",
            "crowbar", "trowel", "sledgehammer", "pickaxe", "file", "spanner", "clamp", "spade", "mallet",
        ],
    },
    Kind {
        name: "a vehicle",
        members: &[
            "car", "bus", "truck", "train", "bicycle", "motorcycle", "tractor", "taxi", "van", "tram", "scooter",
            "ambulance", "helicopter", "submarine", "ferry", "sailboat", "airplane", "canoe", "minibus", "limousine",
        ],
    },
    Kind {
        name: "a piece of clothing",
        members: &[
            "shirt", "jacket", "skirt", "sweater", "sock", "glove", "coat", "scarf", "hat", "dress", "blouse", "belt",
            "vest", "apron", "raincoat", "cardigan", "mitten", "tie", "hoodie", "cap",
        ],
    },
    Kind {
        name: "a musical instrument",
        members: &[
            "guitar", "violin", "piano", "trumpet", "flute", "cello", "harp", "saxophone", "clarinet", "banjo",
            "trombone", "accordion", "tuba", "oboe", "ukulele", "harmonica", "xylophone", "mandolin", "drum", "bassoon",
        ],
    },
    Kind {
        name: "a piece of furniture",
        members: &[
            "chair", "table", "sofa", "desk", "wardrobe", "bed", "bookcase", "stool", "cupboard", "bench", "armchair",
            "dresser", "couch", "nightstand", "sideboard", "cabinet", "crib", "footstool", "recliner", "bunk bed",
        ],
    },
    Kind {
        name: "an insect",
        members: &[
            "ant", "bee", "butterfly", "mosquito", "beetle", "wasp", "moth", "grasshopper", "dragonfly", "cricket",
            "ladybug", "termite", "cockroach", "flea", "hornet", "locust", "gnat", "cicada", "firefly", "bumblebee",
        ],
    },
    Kind {
        name: "a mammal",
        members: &[
            "dog", "horse", "lion", "elephant", "whale", "rabbit", "bear", "giraffe", "goat", "wolf", "monkey", "mouse",
            "dolphin", "tiger", "sheep", "kangaroo", "zebra", "squirrel", "camel", "deer",
        ],
    },
    Kind {
        name: "a profession",
        members: &[
            "doctor", "teacher", "carpenter", "nurse", "lawyer", "baker", "plumber", "farmer", "pilot", "butcher",
            "electrician", "dentist", "journalist", "engineer", "tailor", "librarian", "architect", "surgeon",
            "accountant", "mechanic",
        ],
    },
    Kind {
        name: "a flower",
        members: &[
            "rose", "tulip", "daisy", "lily", "orchid", "sunflower", "daffodil", "carnation", "violet", "poppy",
            "marigold", "lavender", "peony", "dandelion", "jasmine", "chrysanthemum", "iris", "hyacinth", "begonia",
            "petunia",
        ],
    },
];

/// First names.
pub const NAMES: [&str; 24] = [
    "Anna", "Ben", "Carla", "David", "Emma", "Felix", "Grace", "Henry", "Ivy", "Jack", "Kate", "Leo", "Mira", "Noah",
    "Olga", "Paul", "Quinn", "Rosa", "Sam", "Tina", "Umar", "Vera", "Will", "Zoe",
];
