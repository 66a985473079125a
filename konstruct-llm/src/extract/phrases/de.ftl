unknown = Das weiß ich nicht: Ich antworte nur aus den Unterlagen des Geschäfts, und dort habe ich nichts dazu gefunden.
offer = Soll ich Ihre Frage an das Team weitergeben?
contact-team = Bitte wenden Sie sich direkt an das Team.
did-you-mean = Ich bin nicht sicher, was Sie meinen. Geht es um eines davon?
choose = Auswählen
source = Quelle: { $source }
passed-on = Ich habe Ihre Frage an das Team weitergegeben. Es meldet sich bei Ihnen.
not-passed-on = Leider konnte ich Ihre Frage nicht weitergeben. Bitte wenden Sie sich direkt an das Team.
cannot-pass-on = Von hier aus kann ich sie nicht weitergeben. Bitte wenden Sie sich direkt an das Team.
all-right = In Ordnung. Fragen Sie mich gern etwas anderes über das Geschäft.
hello = Guten Tag! Fragen Sie mich etwas über das Geschäft. Ich bin eine KI und antworte aus seinen Unterlagen.
welcome = Gern! Fragen Sie mich, wenn Sie noch etwas wissen möchten.

words-greeting = hallo hi hey moin servus grüezi grüß gruess guten gute tag morgen abend gott zusammen ihr sie liebes team an alle
words-thanks = danke dankeschön dankeschoen vielen besten herzlichen dank schön schoen sehr super klasse toll perfekt prima top alles klar gut ok okay für fuer die hilfe antwort auskunft tschüss tschüs ciao bis bald dann nett lieb mfg lg
words-yes = ja jaa jo jep klar gern gerne bitte ok okay okey natürlich natuerlich unbedingt sicher gut super das wäre waere nett toll mach machen sie tun weiter weitergeben danke einverstanden
words-no = nein nee nö noe ne danke nicht nötig noetig lass lassen sie passt schon egal brauche braucht es brauchen kein problem alles gut
words-person = mensch echter_mensch echten_menschen mitarbeiter mitarbeiterin ansprechpartner mit_jemandem_sprechen mit_jemand_sprechen jemanden_sprechen mit_einer_person echte_person jemand_echtes chef_sprechen persönlich_sprechen
