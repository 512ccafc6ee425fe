"""General sentences: what the model is trained on before it meets a bank.

Everyday statements, questions and requests from templates; {NAME} in a template is drawn from the
list of that name.  The words are of no trade; the bank's terms are not among them.
"""

import re

LISTS = {
    "WHO": """my mother|my father|my sister|my brother|my uncle|my aunt|my cousin|our neighbour|
        the teacher|the doctor|the farmer|the baker|the driver|the painter|the singer|the captain|
        the gardener|the nurse|the student|the sailor|the carpenter|the waiter|the musician|
        the postman|the mayor|the librarian|the dentist|the engineer|the pilot|the tailor|
        the old man|the young woman|a little girl|a small boy|a tall stranger|their grandmother|
        her grandfather|his daughter|my son|the twins|the children|our guests|the tourists|
        the visitors|some friends|the fisherman|the shepherd|the photographer|the butcher|
        the journalist|the plumber|the mechanic|the actress|the dancer|the poet|the judge""",
    "PERSON": """alice|emma|oliver|jack|sophie|henry|george|lucy|anna|peter|thomas|martin|laura|
        daniel|julia|simon|helen|robert|sarah|david|clara|edward|nora|philip|maria|adam|ruth|
        michael|karen|steven|rachel|brian|monica|kevin|linda|frank|diana|victor|paula|walter""",
    "SAW": """saw|found|heard|noticed|followed|remembered|watched|described|met|chased|photographed|
        discovered|recognised|passed|caught sight of""",
    "ANIMAL": """dog|cat|horse|rabbit|fox|squirrel|owl|eagle|swan|duck|goose|hedgehog|badger|deer|
        wolf|bear|lion|tiger|elephant|monkey|camel|donkey|goat|sheep|lamb|cow|pig|chicken|rooster|
        sparrow|robin|crow|raven|parrot|pigeon|butterfly|spider|beetle|bee|snail|frog|turtle|
        lizard|snake|dolphin|whale|seal|salmon|trout|crab|otter|beaver|mouse|hamster|kitten|
        puppy|pony|moose|giraffe|zebra|penguin|crocodile""",
    "ADJ": """big|small|old|young|beautiful|strange|quiet|noisy|friendly|lazy|clever|brown|black|
        white|grey|red|green|yellow|purple|orange|golden|tiny|huge|enormous|happy|sad|hungry|tired|
        angry|gentle|wild|brave|shy|curious|famous|ordinary|wonderful|terrible|delicious|broken|
        empty|heavy|light|warm|cold|frozen|wet|dry|dirty|clean|rough|smooth|soft|sharp|round|square|
        narrow|wide|deep|shallow|steep|bright|dark|pale|colourful|wooden|plastic|silver|ancient|
        modern|foreign|local|peaceful|mysterious|careful|careless|cheerful|elegant|fragile|handsome|
        lonely|muddy|naughty|nervous|perfect|polite|proud|rusty|silly|slender|splendid|stubborn|
        thirsty|ugly|useful|useless|weary|graceful|dusty|crooked|hollow|gigantic|fluffy""",
    "FOOD": """bread|butter|cheese|soup|salad|rice|pasta|potatoes|tomatoes|carrots|onions|cabbage|
        spinach|mushrooms|beans|peas|lentils|apples|pears|plums|cherries|strawberries|raspberries|
        oranges|lemons|bananas|grapes|melons|peaches|honey|jam|chocolate|biscuits|pancakes|
        pudding|ice cream|roast chicken|fried fish|sausages|bacon|eggs|porridge|cereal|yoghurt|
        milk|tea|coffee|lemonade|orange juice|apple pie|cake|sandwiches|garlic|pepper|ginger|
        cinnamon|walnuts|almonds|raisins|noodles|dumplings|gravy|mustard|cucumber|pumpkin""",
    "PLACE": """park|garden|forest|river|lake|beach|harbour|bridge|village|castle|museum|library|
        theatre|cinema|school|university|hospital|church|cathedral|station|airport|restaurant|
        bakery|bookshop|farm|barn|meadow|hill|mountain|valley|waterfall|island|lighthouse|cave|
        desert|field|orchard|playground|swimming pool|stadium|gallery|town hall|square|fountain|
        tower|palace|monastery|windmill|vineyard|zoo|aquarium|hotel|cottage|kitchen|cellar|attic|
        balcony|terrace|workshop|factory|laboratory|office|pharmacy|supermarket|post office""",
    "THING": """book|letter|newspaper|umbrella|lamp|chair|table|sofa|carpet|curtain|mirror|clock|
        picture|candle|basket|bottle|bucket|hammer|ladder|shovel|brush|kettle|teapot|spoon|knife|
        fork|plate|bowl|jar|blanket|pillow|suitcase|rucksack|camera|telescope|radio|television|
        computer|piano|guitar|violin|flute|drum|trumpet|bicycle|kite|ball|doll|puzzle|chess set|
        map|compass|notebook|pencil|envelope|stamp|calendar|necklace|ring|bracelet|watch|wallet|
        jacket|coat|sweater|shirt|scarf|hat|boots|gloves|socks|trousers|dress|skirt|apron|belt|
        rope|tent|lantern|torch|wheel|engine|barrel|saddle|feather|pebble|seashell|snowball""",
    "DID": """bought|sold|lost|broke|repaired|painted|cleaned|carried|borrowed|hid|dropped|wrapped|
        kept|threw away|brought|sent|chose|polished|measured|washed|examined|admired|forgot""",
    "DO": """buy|sell|repair|paint|clean|carry|borrow|hide|wrap|keep|throw away|bring|send|choose|
        polish|measure|wash|examine|find|lift|open|close|move|fetch|draw|use""",
    "COOKED": "cooked|ate|prepared|tasted|served|ordered|shared|liked|burned|refused|enjoyed",
    "COOK": "cook|eat|prepare|taste|serve|share|try|make|chop|bake|boil|peel|smell",
    "WENT": """walked|ran|drove|travelled|hurried|cycled|wandered|returned|climbed|marched|rode|
        sailed|moved|crawled|galloped|strolled|raced""",
    "GO": "walk|run|drive|travel|hurry|cycle|return|ride|come|go|hike",
    "WHERE": """near the {PLACE}|behind the {PLACE}|in front of the {PLACE}|next to the {PLACE}|
        inside the {PLACE}|across the {PLACE}|far from the {PLACE}|beside the {PLACE}|
        on the way to the {PLACE}|in {CITY}|under the bridge|above the clouds|around the corner|
        at the end of the street|on the other side of the road|in the middle of the {PLACE}""",
    "CITY": """london|paris|berlin|madrid|rome|vienna|dublin|edinburgh|amsterdam|lisbon|athens|
        cairo|nairobi|tokyo|sydney|toronto|chicago|boston|mexico|brazil|canada|scotland|ireland|
        wales|france|germany|italy|spain|norway|sweden|finland|poland|turkey|india|china|japan|
        kenya|egypt|australia|iceland|denmark|portugal|greece|hungary""",
    "WHEN": """yesterday|today|last night|this morning|on {DAY}|in {MONTH}|last {MONTH}|
        every {DAY}|at {HOUR} o'clock|before breakfast|after lunch|during dinner|at midnight|
        in the evening|at dawn|a week ago|{SMALL} days ago|{SMALL} years ago|long ago|
        once upon a time|in the summer|last winter|in the autumn|every spring|on christmas eve|
        at the weekend|the day before yesterday|in the early afternoon|just before sunset""",
    "LATER": """tomorrow|tonight|next week|on {DAY}|in {MONTH}|next summer|this evening|
        in {SMALL} minutes|after the storm|at {HOUR} o'clock|before it gets dark|next {DAY}|soon|
        when the rain stops|the day after tomorrow|in the morning""",
    "DAY": "monday|tuesday|wednesday|thursday|friday|saturday|sunday",
    "MONTH": """january|february|march|april|may|june|july|august|september|october|november|
        december""",
    "HOUR": "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve",
    "SMALL": "two|three|four|five|six|seven|eight|nine|ten|twelve|fifteen|twenty|thirty",
    "NUMBER": """{SMALL}|eleven|thirteen|fourteen|sixteen|seventeen|eighteen|nineteen|
        {TENS} {DIGIT}|{TENS}|a hundred|{DIGIT} hundred|two hundred and {TENS}|a thousand|
        {DIGIT} thousand|{DIGIT} thousand {DIGIT} hundred|half a million|zero""",
    "TENS": "twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety",
    "DIGIT": "one|two|three|four|five|six|seven|eight|nine",
    "MANNER": """slowly|quickly|quietly|carefully|suddenly|happily|angrily|gently|secretly|proudly|
        nervously|patiently|bravely|politely|eagerly|calmly|clumsily|silently|gladly|lazily""",
    "WEATHER": """rainy|sunny|windy|cloudy|foggy|snowy|stormy|icy|humid|mild|chilly|freezing|
        pleasant|gloomy""",
    "SKY": """it rained all night|the sun was shining|the wind was blowing from the north|
        snow covered the roofs|there was thunder and lightning|the fog was very thick|
        the leaves were turning yellow|the stars were bright|the moon rose over the {PLACE}|
        a rainbow appeared above the {PLACE}|the temperature fell below zero|
        the ice on the lake was melting|a cool breeze came from the sea|the roads were flooded""",
    "JOB": """teacher|doctor|scientist|artist|writer|musician|actor|chef|firefighter|policeman|
        astronaut|explorer|architect|lawyer|soldier|magician|clown|detective|professor|referee|
        swimmer|runner|goalkeeper|champion|president|king|queen|prince|princess""",
    "SPORT": """football|tennis|cricket|hockey|basketball|volleyball|rugby|chess|cards|golf|
        badminton|table tennis|hide and seek|the violin|the piano|the guitar|the drums""",
    "BODY": "arm|leg|knee|elbow|shoulder|back|neck|ankle|wrist|finger|thumb|toe|foot|head|tooth",
    "SUBJECT": """history|geography|mathematics|chemistry|physics|biology|music|poetry|grammar|
        philosophy|astronomy|medicine|cooking|gardening|architecture|mythology|politics|religion""",
    "TOPIC": """the weather|the holidays|the football match|the wedding|the concert|the accident|
        the old house|the new neighbours|the election|the exhibition|the journey|the film|
        the recipe|the garden|the festival|the parade|the birthday party|the family reunion""",
    "SAID": "said|thought|believed|explained|whispered|shouted|promised|replied|complained|claimed",
    "FEEL": """happy|sad|angry|tired|afraid|bored|excited|surprised|jealous|ashamed|grateful|
        worried|disappointed|confused|delighted|embarrassed|relieved|homesick""",
    "TRANSPORT": """train|bus|car|boat|ship|plane|tram|taxi|lorry|ferry|helicopter|bicycle|
        motorbike|carriage|tractor|canoe|sledge|balloon""",
    "TREE": """oak|pine|birch|maple|willow|apple tree|cherry tree|rose|tulip|daisy|lily|sunflower|
        daffodil|ivy|fern|moss|cactus|palm tree|chestnut tree|lavender""",
}

TEMPLATES = """
{WHO} {SAW} a {ADJ} {ANIMAL} {WHERE}
{WHO} {SAW} a {ADJ} {ANIMAL} {WHEN}
{PERSON} {DID} the {ADJ} {THING} {WHEN}
{WHO} {DID} a {ADJ} {THING} and a {THING}
{WHO} {COOKED} {FOOD} and {FOOD} {WHEN}
{PERSON} {COOKED} {FOOD} with {FOOD}
can you {COOK} some {FOOD} {LATER}
could you please {DO} the {THING} {LATER}
please {DO} this {ADJ} {THING}
{WHO} {WENT} {MANNER} to the {PLACE}
{PERSON} {WENT} to {CITY} by {TRANSPORT} {WHEN}
we will {GO} to the {PLACE} {LATER}
shall we {GO} to {CITY} {LATER}
{SKY} when {WHO} {WENT} home
it was a {WEATHER} day and {SKY}
tomorrow it will be {WEATHER} in {CITY}
{PERSON} wants to become a {JOB} in {CITY}
{WHO} was a {ADJ} {JOB} many years ago
{PERSON} and {PERSON} play {SPORT} every {DAY}
do you like to play {SPORT} with {WHO}
{WHO} hurt his {BODY} while playing {SPORT}
my {BODY} and my {BODY} still hurt
{PERSON} studies {SUBJECT} and {SUBJECT} at the university
the lesson about {SUBJECT} begins at {HOUR} o'clock
{WHO} {SAID} that {PERSON} was {FEEL} about {TOPIC}
{PERSON} felt {FEEL} because {WHO} {DID} the {THING}
we talked about {TOPIC} for {NUMBER} minutes
there are {NUMBER} {ADJ} chairs in the {PLACE}
the {TRANSPORT} to {CITY} leaves at {HOUR} o'clock
the {TRANSPORT} was late and {WHO} felt {FEEL}
the {ADJ} {TREE} grows {WHERE}
{WHO} planted a {TREE} and a {TREE} {WHERE}
a {ANIMAL} was sleeping under the {ADJ} {TREE}
the {ANIMAL} and the {ANIMAL} {WENT} {MANNER} through the {PLACE}
where did you put my {ADJ} {THING}
have you ever seen a {ANIMAL} {WHERE}
how many {FOOD} do we need for {NUMBER} people
what did {WHO} say about {TOPIC}
why is {PERSON} so {FEEL} {LATER}
the {PLACE} in {CITY} is {ADJ} and {ADJ}
I have never been so {FEEL} in my life
if it is {WEATHER} {LATER} we will stay at home
nobody knows who {DID} the {THING}
{PERSON} lives {WHERE} with a {ADJ} {ANIMAL}
{NUMBER} people came to the {PLACE} {WHEN}
the {THING} on the {THING} belongs to {PERSON}
he {WENT} {MANNER} and {SAID} nothing about {TOPIC}
she always {DID} her {THING} {MANNER}
they {SAID} the {FOOD} tasted {ADJ}
turn left at the {PLACE} and then go straight on to the {PLACE}
the {ADJ} {PLACE} was built {NUMBER} years ago
{WHEN} {PERSON} was born in {CITY}
""".strip().splitlines()

CHOICES = {name: [" ".join(item.split()) for item in text.split("|")]
            for name, text in LISTS.items()}
_SLOT = re.compile(r"\{(\w+)\}")


def fill(template, rng, choices):
    """The template with an entry of its list in each {SLOT}, drawn by `rng`, repeatedly."""
    while "{" in template:
        template = _SLOT.sub(lambda slot: rng.choice(choices[slot[1]]), template)
    return re.sub(r"\ba (?=[aeio]|ugly)", "an ", template)


def sentence(rng):
    """A sentence of general text, in upper case."""
    return fill(rng.choice(TEMPLATES), rng, CHOICES).upper()


def vocabulary():
    """All words that general sentences may have."""
    text = " ".join([*TEMPLATES, *(item for items in CHOICES.values() for item in items)])
    return sorted(set(_SLOT.sub(" ", text).upper().split()))
