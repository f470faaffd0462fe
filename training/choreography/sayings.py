"""What people say when their hands say it too: example phrases of every meaning in the vocabulary.

A phrase that is spoken gets the gesture of the examples it is nearest to (training/choreography/meaning.py). The word
in capitals is the one that carries the stroke; its own meaning finds candidates, the phrase around it confirms them.
"""

from __future__ import annotations

from typing import Final

SAYINGS: Final[dict[str, tuple[str, ...]]] = {
    "yes": ("YES of course", "that is RIGHT", "I AGREE with you", "EXACTLY", "ABSOLUTELY", "that is TRUE", "SURE"),
    "no": ("NO", "NEVER do that", "NOT at all", "I REFUSE", "that is WRONG", "NOTHING like that", "it CANNOT be"),
    "me": ("I am the one", "it is MINE", "tell ME", "MYSELF", "MY opinion", "it happened to ME"),
    "you": ("YOU", "what about YOU", "it is up to YOU", "YOUR turn", "listen to me YOU", "YOURSELF"),
    "we": ("WE do it", "all of US", "OUR friends", "between US", "everybody among US", "OURSELVES"),
    "big": ("BIG", "a HUGE building", "ENORMOUS", "a LARGE amount", "a GREAT many", "the GIANT", "MASSIVE", "WIDE"),
    "small": ("SMALL", "a LITTLE bit", "TINY", "only a DETAIL", "a MINOR problem", "SLIGHTLY", "NARROW"),
    "many": ("MANY people", "LOTS of things", "SEVERAL", "VARIOUS kinds", "thousands and MILLIONS", "a CROWD"),
    "everything": ("EVERYTHING", "the WHOLE world", "ALL of it", "EVERYWHERE", "ENTIRE", "the UNIVERSE"),
    "up": ("UP", "it goes HIGHER", "prices RISE", "GROW and INCREASE", "the TOP", "CLIMB", "to the SKY"),
    "down": ("DOWN", "it goes LOWER", "prices FALL", "DECREASE", "the BOTTOM", "DROP", "the GROUND"),
    "here": ("HERE", "right HERE", "in this PLACE", "NOW", "at this MOMENT", "TODAY"),
    "there": ("over THERE", "far AWAY", "ELSEWHERE", "that one THERE", "in the DISTANCE", "OUTSIDE"),
    "stop": ("STOP", "WAIT a moment", "HOLD on", "that is ENOUGH", "do not MOVE", "HALT", "DON'T"),
    "think": ("I THINK", "let me CONSIDER", "REMEMBER", "in my MIND", "I WONDER", "use your BRAIN", "I BELIEVE"),
    "unknown": ("I do not KNOW", "who KNOWS", "I have no IDEA", "WHATEVER", "WHY not", "NOBODY"),
    "hello": ("HELLO", "HI there", "good MORNING", "GREETINGS", "nice to MEET you"),
    "goodbye": ("GOODBYE", "BYE", "FAREWELL", "good NIGHT", "see you LATER"),
    "thanks": ("THANK you", "THANKS a lot", "I am GRATEFUL", "I APPRECIATE it", "my GRATITUDE"),
    "please": ("PLEASE", "I BEG you", "I PRAY", "would you KINDLY", "I HOPE so", "FORGIVE me", "GOD help us"),
    "explain": ("let me EXPLAIN", "this MEANS", "for EXAMPLE", "the REASON is", "BECAUSE", "I will SHOW you"),
    "idea": ("I have an IDEA", "SUDDENLY I understood", "a new INVENTION", "the SOLUTION", "DISCOVERED"),
    "strong": ("STRONG", "POWER", "FORCE", "we will WIN", "VICTORY", "COURAGE", "STRENGTH", "a HERO"),
    "time": ("TIME passes", "it goes on and on FOREVER", "AGAIN and again", "CONTINUE", "REPEAT", "the PROCESS"),
    "past": ("in the PAST", "YESTERDAY", "long AGO", "it used to be FORMERLY", "BEFORE", "HISTORY", "a long time AGO"),
    "future": ("in the FUTURE", "TOMORROW", "NEXT year", "it will COME", "AFTER that", "FORWARD", "SOON"),
    "together": ("TOGETHER", "UNITE", "CONNECT", "JOIN us", "a MARRIAGE", "COMBINE", "a MEETING", "RELATIONSHIP"),
    "apart": ("APART", "SEPARATE", "BREAK up", "DIFFERENT from each other", "DIVIDED", "SPLIT", "DISTANCE between"),
    "question": ("is it a QUESTION", "WHAT is it", "WHO are you", "WHERE is it", "HOW does it work", "WHICH one"),
    "important": ("this is IMPORTANT", "PRECISELY", "the main POINT", "the KEY", "MUST", "ESPECIALLY", "SPECIFIC"),
    "doubt": ("MAYBE", "more or LESS", "I DOUBT it", "PERHAPS", "ALMOST", "it is NOT certain", "PROBABLY"),
    "welcome": ("WELCOME", "come INSIDE", "OPEN", "FREEDOM", "EVERYBODY is invited", "my FRIENDS"),
    "good": ("GOOD", "EXCELLENT", "WELL done", "PERFECT", "a great SUCCESS", "the BEST", "WONDERFUL"),
    "dismiss": ("FORGET it", "it does not MATTER", "NEVER mind", "NONSENSE", "go AWAY", "STUPID", "RIDICULOUS"),
    "weigh": ("on the one HAND", "EITHER this or that", "CHOOSE", "COMPARE", "BALANCE", "the CHOICE"),
    "fast": ("FAST", "QUICKLY", "RUN", "in a HURRY", "it went PAST", "RUSH", "FLY away", "IMMEDIATELY"),
    "calm": ("CALM down", "SLOWLY", "be QUIET", "RELAX", "EASY now", "PEACE", "SILENCE", "GENTLE"),
    "listen": ("LISTEN", "I HEARD it", "what did you SAY", "SOUND", "MUSIC", "NOISE"),
    "fight": ("FIGHT", "HIT it", "WAR", "ANGRY", "CRUSH", "ATTACK", "BEAT", "KILL", "ENEMY"),
    "love": ("I LOVE you", "LOVE", "my DEAR", "with all my HEART", "FEELING", "AFFECTION"),
    "end": ("it is OVER", "FINISHED", "the END", "DONE", "NOTHING more", "COMPLETELY", "DEATH"),
}  # fmt: skip
# How often, of the times it fits: everyday words would else keep the hands busy.
SELDOM: Final = {"me": 0.35, "you": 0.45, "we": 0.6, "here": 0.6, "no": 0.8, "think": 0.8, "question": 0.5,
                 "everything": 0.8, "explain": 0.8, "future": 0.8, "good": 0.8}  # fmt: skip
