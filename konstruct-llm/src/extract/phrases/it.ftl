unknown = Non lo so: rispondo solo in base ai documenti dell'attività e non ho trovato nulla su questo.
offer = Vuole che inoltri la sua domanda al team?
contact-team = Contatti direttamente il team.
did-you-mean = Non sono sicuro di aver capito. Si tratta di uno di questi argomenti?
choose = Scegli
source = Fonte: { $source }
passed-on = Ho inoltrato la sua domanda al team. La ricontatteranno.
not-passed-on = Mi dispiace, non sono riuscito a inoltrare la sua domanda. Contatti direttamente il team.
cannot-pass-on = Da qui non posso inoltrarla. Contatti direttamente il team.
all-right = Va bene. Mi chieda pure altro sull'attività.
hello = Buongiorno! Mi chieda informazioni sull'attività. Sono un'IA e rispondo in base ai suoi documenti.
welcome = Prego! Mi chieda pure se le serve altro.

words-greeting = ciao buongiorno buonasera buon giorno buona sera salve a tutti come va sta state pomeriggio
words-thanks = grazie mille tante molte perfetto ottimo benissimo gentilissimi gentilissimo gentile molto per l aiuto la risposta va bene ok arrivederci ciao a presto buona giornata serata tutto
words-yes = sì si certo ok va bene d accordo volentieri per favore grazie magari perfetto certamente procedi proceda
words-no = no grazie non serve importa fa niente lasci stare a posto così cosi va bene
words-person = una_persona_vera persona_reale parlare_con_qualcuno parlare_con_una_persona un_umano operatore operatrice un_responsabile essere_umano
