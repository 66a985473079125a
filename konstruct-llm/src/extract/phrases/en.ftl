# What the backend says, and the words that it recognises. A list of words is one message, separated by spaces; `_` joins the words of a phrase.
unknown = I don't know: I only answer from the business's own documents, and I did not find this in them.
offer = Shall I pass your question on to the team?
contact-team = Please contact the team directly.
did-you-mean = I am not sure what you mean. Did you mean one of these?
otherwise = If not:
choose = Choose
source = Source: { $source }
passed-on = I have passed your question on to the team. They will get back to you.
not-passed-on = I am sorry, I could not pass your question on. Please contact the team directly.
cannot-pass-on = I cannot pass it on from here. Please contact the team directly.
all-right = All right. Ask me anything else about the business.
hello = Hello! Ask me about the business. I am an AI and answer from its documents.
welcome = You're welcome! Ask me if there is anything else.

words-greeting = hi hello hey hiya howdy greetings good morning afternoon evening day there everyone all team again folks how are you doing
words-thanks = thanks thank you thx ty cheers great perfect awesome lovely brilliant super cool very much so a lot many for the your help that thats is was all bye goodbye good have nice day wonderful excellent appreciated appreciate it got ok okay helpful
words-yes = yes yeah yep yup sure ok okay please do go ahead of course absolutely definitely that would be great good nice lovely perfect thanks thank you pass it on ask them the team fine sounds i would like id love alright right yea y to my question can could just so kindly for me
words-no = no nope nah not thanks thank you dont never mind need its fine that thats ok okay now really alright it bother worry
words-person = human real_person person_please speak_to_someone talk_to_someone speak_to_a_person talk_to_a_person talk_to_a_human speak_to_a_human speak_with_someone speak_with_a_person talk_with_a_person talk_to_an_agent speak_to_an_agent live_agent real_human customer_service_agent someone_real speak_to_the_owner talk_to_the_owner speak_to_the_manager talk_to_the_manager
