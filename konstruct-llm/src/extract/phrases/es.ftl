unknown = No lo sé: solo respondo con los documentos del negocio y no he encontrado esto en ellos.
offer = ¿Quiere que pase su pregunta al equipo?
contact-team = Póngase en contacto directamente con el equipo.
did-you-mean = No estoy seguro de lo que quiere decir. ¿Se refiere a alguno de estos temas?
choose = Elegir
source = Fuente: { $source }
passed-on = He pasado su pregunta al equipo. Se pondrán en contacto con usted.
not-passed-on = Lo siento, no he podido pasar su pregunta. Póngase en contacto directamente con el equipo.
cannot-pass-on = No puedo pasarla desde aquí. Póngase en contacto directamente con el equipo.
all-right = De acuerdo. Pregúnteme cualquier otra cosa sobre el negocio.
hello = ¡Hola! Pregúnteme sobre el negocio. Soy una IA y respondo con sus documentos.
welcome = ¡De nada! Pregúnteme si necesita algo más.

words-greeting = hola buenas buenos días dias tardes noches buen día dia qué que tal saludos a todos equipo cómo como está esta están estan
words-thanks = gracias muchas mil muchísimas muchisimas perfecto genial estupendo vale ok muy amable por la ayuda su tu todo bien adiós adios hasta luego pronto excelente bueno
words-yes = sí si claro vale ok por favor sí_por_favor porfa de acuerdo adelante hágalo hagalo hazlo bueno gracias está esta bien perfecto supuesto desde luego
words-no = no gracias nada hace falta déjelo dejelo déjalo dejalo es necesario está esta bien así asi todo
words-person = persona_real una_persona hablar_con_alguien hablar_con_una_persona agente humano un_humano encargado encargada hablar_con_el_dueño atención_humana operador
