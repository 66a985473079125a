unknown = Je ne sais pas : je réponds uniquement à partir des documents de l'entreprise, et je n'y ai rien trouvé à ce sujet.
offer = Voulez-vous que je transmette votre question à l'équipe ?
contact-team = Veuillez contacter directement l'équipe.
did-you-mean = Je ne suis pas sûr de comprendre. S'agit-il de l'un de ces sujets ?
choose = Choisir
source = Source : { $source }
passed-on = J'ai transmis votre question à l'équipe. Elle reviendra vers vous.
not-passed-on = Désolé, je n'ai pas pu transmettre votre question. Veuillez contacter directement l'équipe.
cannot-pass-on = Je ne peux pas la transmettre d'ici. Veuillez contacter directement l'équipe.
all-right = D'accord. Posez-moi une autre question sur l'entreprise.
hello = Bonjour ! Posez-moi vos questions sur l'entreprise. Je suis une IA et je réponds à partir de ses documents.
welcome = Je vous en prie ! N'hésitez pas si vous avez une autre question.

words-greeting = bonjour bonsoir salut coucou hello bjr slt à a tous toutes l équipe equipe ça ca va
words-thanks = merci beaucoup bcp mille parfait super génial genial top très tres bien pour votre aide réponse reponse au revoir bonne journée journee soirée soiree à a bientôt bientot ok d accord c est tout excellent
words-yes = oui ouais ok d accord volontiers svp s il vous te plaît plait bien sûr sur allez y parfait merci avec plaisir je veux
words-no = non merci pas la peine laissez laisse tomber ça ca va aller besoin c est bon
words-person = une_vraie_personne vraie_personne parler_à_quelqu'un parler_à_quelqu_un parler_a_quelqu_un parler_à_une_personne parler_a_une_personne un_humain conseiller conseillère un_responsable être_humain
