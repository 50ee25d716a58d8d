"""The words of the synthetic shop: departments, families, variants, brands, first names."""

from __future__ import annotations

# department -> (pack sizes from small to large, families separated by semicolons)
DEPARTMENTS: dict[str, tuple[tuple[str, ...], str]] = {
    "Coffee & Tea": (
        ("100 g", "250 g", "500 g", "1 kg"),
        (
            "Ground coffee;Coffee beans;Instant coffee;Coffee capsules;Decaf coffee;Green tea;Black tea;"
            "Fruit tea;Herbal tea;Rooibos tea;Chai mix;Hot chocolate;Matcha powder;Barley coffee;Iced tea;"
            "Cocoa"
        ),
    ),
    "Pantry": (
        ("250 g", "500 g", "1 kg", "2 kg"),
        (
            "Spaghetti;Penne;Basmati rice;Risotto rice;Red lentils;Chickpeas;Wheat flour;Rye flour;"
            "Couscous;Rolled oats;Crunchy muesli;Corn flakes;Tomato sauce;Olive oil;Sunflower oil;"
            "Apple vinegar"
        ),
    ),
    "Sweets & Snacks": (
        ("45 g", "100 g", "200 g", "400 g"),
        (
            "Dark chocolate;Milk chocolate;Butter biscuits;Oat cookies;Gummy bears;Liquorice;"
            "Salted crackers;Potato crisps;Tortilla chips;Roasted almonds;Cashew nuts;Trail mix;"
            "Dried mango;Rice cakes;Caramel toffees;Marzipan"
        ),
    ),
    "Drinks": (
        ("0.33 l", "0.5 l", "0.75 l", "1.5 l"),
        (
            "Mineral water;Apple juice;Orange juice;Tomato juice;Lemonade;Ginger beer;Tonic water;Cola;"
            "Elderflower syrup;Oat drink;Almond drink;Kombucha;Coconut water;Alcohol-free beer;Smoothie;"
            "Kefir"
        ),
    ),
    "Pets": (
        ("400 g", "1 kg", "2.5 kg", "8 kg"),
        (
            "Dry cat food;Wet cat food;Kitten food;Cat litter;Dry dog food;Wet dog food;Puppy food;"
            "Dog chews;Bird seed;Hamster mix;Rabbit pellets;Fish flakes;Cat treats;Dog treats;Hay;"
            "Training biscuits"
        ),
    ),
    "Beauty": (
        ("30 ml", "50 ml", "100 ml", "200 ml"),
        (
            "Day cream;Night cream;Face serum;Cleansing foam;Face tonic;Body lotion;Hand cream;Foot balm;"
            "Sun milk;Lip balm;Micellar water;Eye gel;Face mask;Body scrub;Massage oil;Eau de toilette"
        ),
    ),
    "Hair & Bath": (
        ("100 ml", "250 ml", "400 ml", "750 ml"),
        (
            "Shampoo;Conditioner;Hair mask;Hair oil;Styling gel;Hair spray;Shower gel;Bath foam;"
            "Liquid soap;Deodorant;Shaving foam;After-shave balm;Mouthwash;Toothpaste;Baby shampoo;"
            "Bath salt"
        ),
    ),
    "Household": (
        ("0.5 l", "1 l", "2 l", "5 l"),
        (
            "Laundry detergent;Fabric softener;Stain remover;Washing-up liquid;Dishwasher gel;"
            "Glass cleaner;Floor cleaner;Bathroom cleaner;Oven cleaner;Limescale remover;"
            "All-purpose cleaner;Bleach;Furniture polish;Drain opener;Carpet shampoo;Descaler"
        ),
    ),
    "Kitchen": (
        ("small", "medium", "large", "set"),
        (
            "Frying pan;Saucepan;Stock pot;Chef's knife;Bread knife;Chopping board;Mixing bowl;Baking tin;"
            "Cake mould;Teapot;Coffee press;Storage jar;Lunch box;Drinking glass;Dinner plate;Salad bowl"
        ),
    ),
    "Home & Decor": (
        ("small", "medium", "large", "extra large"),
        (
            "Scented candle;Tea light holder;Flower vase;Photo frame;Wall clock;Cushion cover;"
            "Throw blanket;Table runner;Storage basket;Desk lamp;String lights;Door mat;Mirror;Plant pot;"
            "Bath towel;Bed linen"
        ),
    ),
    "Stationery & Toys": (
        ("mini", "standard", "large", "family pack"),
        (
            "Notebook;Sketch pad;Ballpoint pen;Fineliner;Coloured pencils;Watercolours;Greeting card;"
            "Gift wrap;Jigsaw puzzle;Board game;Card game;Building blocks;Soft toy;Wooden train;"
            "Modelling clay;Sticker book"
        ),
    ),
    "Garden & DIY": (
        ("small", "medium", "large", "professional"),
        (
            "Potting soil;Lawn seed;Plant feed;Garden gloves;Secateurs;Watering can;Hose;Bird feeder;"
            "Hand trowel;Garden lantern;Work gloves;Screwdriver;Hammer;Wood glue;Wall paint;Paint brush"
        ),
    ),
}
QUALIFIERS = (
    ",Classic,Country,Fine,Royal,Nordic,Alpine,Harbour,Sunny,Artisan,Urban,Heritage,Garden,Velvet,Golden,"
    "Wild,Pure,Organic,Coastal,Island,Mountain,Orchard,Valley,Village"
).split(",")
VARIANTS = (
    "Aroma Bella Cosmo Delta Elba Fresco Gala Hana Iris Jade Kora Luna Mira Nova Opal Piano Quinta Riva "
    "Sola Terra Ultra Vita Wave Xena Yara Zest Amber Bravo Coral Dolce Ember Flora Grazia Hazel Indigo "
    "Jasmin Karma Lotus Magno Nectar Onda Prima Quartz Rondo Salto Tempo Union Viola"
).split()
SUFFIXES = ("", " Plus", " Select", " Duo", " Extra", " Prime")
BRANDS = (
    "Adler & Co,Barnaby,Casa Lima,Dovetail,Eastgate,Fernhill,Greenleaf,Hollis,Inverary,Juniper,Kestrel,"
    "Lindqvist,Maison Roux,Northwind,Oakley Lane,Pemberton,Quill,Rosewater,Stern,Tolberg,Ullmann,Vireo,"
    "Westbrook,Yarrow"
).split(",")
FIRST_NAMES = (
    "Anna Ben Clara David Emma Felix Grace Henry Ida Jack Kate Leo Maria Noah Olivia Paul Rose Sam Tina "
    "Victor Alice Bruno Carla Daniel Ella Frank Hannah Ivan Julia Karl Laura Max Nina Oscar Petra Simon "
    "Sofia Tom Vera Will"
).split()
FIRST_NAMES_RU = (
    "Анна Борис Вера Глеб Дарья Егор Жанна Захар Ирина Кирилл Лидия Максим Нина Олег Полина Роман Софья "
    "Тимур Ульяна Юрий"
).split()
PROGRAMME = "Corner Club"
FEES = ("POST", "FEE", "DOT", "M", "BANK CHARGES")
"""Codes of things that are no products."""
