unknown = Não sei: só respondo com base nos documentos da empresa e não encontrei isto neles.
offer = Quer que encaminhe a sua pergunta para a equipa?
contact-team = Por favor, contacte diretamente a equipa.
did-you-mean = Não tenho a certeza do que pretende. Trata-se de um destes assuntos?
choose = Escolher
source = Fonte: { $source }
passed-on = Encaminhei a sua pergunta para a equipa. Entrarão em contacto consigo.
not-passed-on = Lamento, não consegui encaminhar a sua pergunta. Por favor, contacte diretamente a equipa.
cannot-pass-on = Não a posso encaminhar a partir daqui. Por favor, contacte diretamente a equipa.
all-right = Está bem. Pergunte-me outra coisa sobre a empresa.
hello = Olá! Pergunte-me sobre a empresa. Sou uma IA e respondo com base nos seus documentos.
welcome = De nada! Pergunte-me se precisar de mais alguma coisa.

words-greeting = olá ola oi bom dia boa boas tarde noite tudo bem a todos como está esta vai equipa equipe
words-thanks = obrigado obrigada brigado obg obgd muito muitíssimo perfeito ótimo otimo excelente valeu vlw pela ajuda resposta adeus tchau até ate logo breve ok está bem tudo certo
words-yes = sim claro ok por favor pf está esta bem pode ser com certeza perfeito obrigado obrigada isso quero força
words-no = não nao obrigado obrigada é e preciso precisa deixe deixa estar tudo bem
words-person = pessoa_real uma_pessoa falar_com_alguém falar_com_alguem falar_com_uma_pessoa um_humano atendente operador responsável ser_humano
