unknown = Dat weet ik niet: ik antwoord alleen uit de documenten van het bedrijf en heb dit daarin niet gevonden.
offer = Zal ik uw vraag doorgeven aan het team?
contact-team = Neem rechtstreeks contact op met het team.
did-you-mean = Ik weet niet zeker wat u bedoelt. Gaat het over een van deze onderwerpen?
choose = Kiezen
source = Bron: { $source }
passed-on = Ik heb uw vraag doorgegeven aan het team. U hoort van hen.
not-passed-on = Het spijt me, ik kon uw vraag niet doorgeven. Neem rechtstreeks contact op met het team.
cannot-pass-on = Ik kan de vraag van hieruit niet doorgeven. Neem rechtstreeks contact op met het team.
all-right = Goed. Vraag me gerust iets anders over het bedrijf.
hello = Hallo! Stel me een vraag over het bedrijf. Ik ben een AI en antwoord uit de documenten van het bedrijf.
welcome = Graag gedaan! Vraag het me als u nog iets wilt weten.

words-greeting = hallo hoi hey hi goedemorgen goedemiddag goedenavond goedendag goeie dag morgen allemaal team hoe gaat het
words-thanks = dank bedankt dankjewel dankuwel je u wel thanks super top fijn prima perfect geweldig heel erg hartelijk voor de hulp het antwoord doei tot ziens ok oké oke goed fijne dag avond alles duidelijk
words-yes = ja jawel graag ok oké oke prima goed natuurlijk zeker doe dat maar alstublieft aub svp dank bedankt is
words-no = nee nope hoeft niet dank bedankt laat maar nodig is goed zo hoor je u wel
words-person = echt_persoon echte_persoon een_mens medewerker medewerkster met_iemand_praten iemand_spreken met_iemand_spreken met_een_persoon echt_iemand
